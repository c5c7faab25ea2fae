"""Training-data inversion: what the classes look like, from a model that was trained on them.

An attack is a `ClassInversion`: a prior over images, a start, an objective, a search and a
selection, each one file and one object. `gmi`, `kedmi`, `lomma`, `plg_mi` and `brep_mi` are the
published ones. `Access` is the only door to the model under attack.
"""

from splitveil.class_inversion.access import Access
from splitveil.class_inversion.attack import ClassInversion
from splitveil.class_inversion.constraints import Box, L1Ball
from splitveil.class_inversion.invert import Chunk, Hooks, Inversion, invert
from splitveil.class_inversion.losses import (
    CrossEntropy,
    Gained,
    Logit,
    MaxMargin,
    Poincare,
    RealClass,
    Realness,
)
from splitveil.class_inversion.objective import Objective
from splitveil.class_inversion.presets import brep_mi, gmi, kedmi, knowing, lomma, plg_mi
from splitveil.class_inversion.priors import (
    KPlusOne,
    Prior,
    PriorRecipe,
    PseudoLabelled,
    Rules,
    Wasserstein,
    load_prior,
    train_prior,
)
from splitveil.class_inversion.searches import Adam, Gaussian, Nesterov, Sphere
from splitveil.class_inversion.selections import Every, MostConfident
from splitveil.class_inversion.starts import Draws, LabelSearch, Origin, TopScore
from splitveil.class_inversion.students import Students, teach
from splitveil.class_inversion.views import Views

__all__ = [
    "Access",
    "Adam",
    "Box",
    "Chunk",
    "ClassInversion",
    "CrossEntropy",
    "Draws",
    "Every",
    "Gained",
    "Gaussian",
    "Hooks",
    "Inversion",
    "KPlusOne",
    "L1Ball",
    "LabelSearch",
    "Logit",
    "MaxMargin",
    "MostConfident",
    "Nesterov",
    "Objective",
    "Origin",
    "Poincare",
    "Prior",
    "PriorRecipe",
    "PseudoLabelled",
    "RealClass",
    "Realness",
    "Rules",
    "Sphere",
    "Students",
    "TopScore",
    "Views",
    "Wasserstein",
    "brep_mi",
    "gmi",
    "invert",
    "kedmi",
    "knowing",
    "load_prior",
    "lomma",
    "plg_mi",
    "teach",
    "train_prior",
]
