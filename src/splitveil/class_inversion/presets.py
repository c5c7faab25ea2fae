"""Published attacks as recipes: what each is made of, at the papers' constants and at a CPU's.

| attack | access | prior | start | identity loss | prior loss | search |
|---|---|---|---|---|---|---|
| `gmi` | white | `Wasserstein` | 5 draws | 100 cross-entropy | critic | `Nesterov` |
| `kedmi` | white | `KPlusOne` | origin | 100 cross-entropy | K + 1 | `Gaussian`, 5 draws |
| `lomma` | white | as another | as another | 100 logit, 3 students | as another | as another |
| `plg_mi` | white | `PseudoLabelled` | 5 draws | margin, 2 views | none | `Adam` |
| `brep_mi` | label | `Wasserstein` | label search | none | none | `Sphere` |

"paper" are the published constants, for 64 x 64 faces; "cpu" fewer and longer steps, for 32 x 32 on
two cores, of the same method. What a search gains from the paper's is for you to measure.
"""

from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from splitveil.class_inversion.attack import ClassInversion
from splitveil.class_inversion.losses import (
    CrossEntropy,
    Gained,
    Logit,
    MaxMargin,
    RealClass,
    Realness,
)
from splitveil.class_inversion.objective import Objective
from splitveil.class_inversion.priors import KPlusOne, PseudoLabelled, Rules, Wasserstein
from splitveil.class_inversion.searches import Adam, Gaussian, Nesterov, Sphere
from splitveil.class_inversion.starts import Draws, LabelSearch, Origin
from splitveil.class_inversion.students import Students
from splitveil.class_inversion.views import Views
from splitveil.errors import BadPlan
from splitveil.training import Schedule

Constants: TypeAlias = Literal["paper", "cpu"]

_PAPER_BATCH = 60
"""Classes whose mean loss the papers' gradient is of; here every row has its own."""

_CPU_RULES = Rules(steps=1500, critic_steps=2)


def gmi(constants: Constants = "cpu") -> ClassInversion:
    """Generative model inversion: a WGAN of public images, Nesterov steps on five latents a class.

    References: Zhang et al., CVPR 2020.

    Raises:
        BadPlan: if there are no such constants.
    """
    paper = _is_paper(constants)
    return ClassInversion(
        name="GMI",
        prior=_wasserstein(paper),
        start=Draws(restarts=5),
        search=Nesterov(steps=1500, rate=0.02 / _PAPER_BATCH)
        if paper
        else Nesterov(steps=300, rate=0.002),
        objective=Objective(identity=CrossEntropy(), weight=100.0, prior=Realness()),
    )


def kedmi(constants: Constants = "cpu") -> ClassInversion:
    """Knowledge-enriched distributional inversion: a prior that knows the model's classes.

    References: Chen et al., ICCV 2021.

    Raises:
        BadPlan: if there are no such constants.
    """
    paper = _is_paper(constants)
    return ClassInversion(
        name="KEDMI",
        prior=KPlusOne() if paper else KPlusOne(critic_width=16, rules=_CPU_RULES),
        start=Origin(),
        search=Gaussian(steps=2400) if paper else Gaussian(steps=400, rate=0.05),
        objective=Objective(identity=CrossEntropy(), weight=100.0, prior=RealClass()),
    )


def lomma(
    constants: Constants = "cpu", *, of: ClassInversion | None = None, students: bool = True
) -> ClassInversion:
    """Another attack, by default KEDMI, with the logit loss and students to average over.

    `students` is False for the logit loss alone; for students alone, replace the objective.

    References: Nguyen et al., CVPR 2023.

    Raises:
        BadPlan: if there are no such constants, or the other attack follows no gradient.
    """
    paper = _is_paper(constants)
    other = of or kedmi(constants)
    if other.objective is None:
        raise BadPlan(f"LOMMA changes a loss and {other.name} has none: give a white-box attack")
    epochs = 20 if paper else 8
    return replace(
        other,
        name=f"LOMMA+{other.name}",
        objective=replace(other.objective, identity=Logit(regulariser=1.0 if paper else 0.01)),
        students=Students(schedule=Schedule(epochs=epochs)) if students else None,
    )


def knowing(of: ClassInversion | None = None, *, share: float = 0.5) -> ClassInversion:
    """Another attack, by default LOMMA without students, by who has the network before fine-tuning.

    What the class owes to the features of that network is held down by `share`: see `Gained`. The
    adaptive attacker of a defence that keeps public weights. `invert` is given `first`.

    Raises:
        BadPlan: if the other attack follows no gradient, or the share is negative.
    """
    other = of or lomma(students=False)
    if other.objective is None:
        raise BadPlan(f"{other.name} reads no weights: give a white-box attack")
    return replace(
        other,
        name=f"{other.name} knowing the start",
        objective=replace(
            other.objective, identity=Gained(of=other.objective.identity, share=share)
        ),
    )


def plg_mi(constants: Constants = "cpu") -> ClassInversion:
    """Pseudo-label-guided inversion: a generator for each class, and the margin of the model.

    References: Yuan et al., AAAI 2023.

    Raises:
        BadPlan: if there are no such constants.
    """
    paper = _is_paper(constants)
    rules = replace(_CPU_RULES, decays=(0.0, 0.9))
    return ClassInversion(
        name="PLG-MI",
        prior=PseudoLabelled() if paper else PseudoLabelled(critic_width=16, rules=rules),
        start=Draws(restarts=5),
        search=Adam(steps=600) if paper else Adam(steps=150),
        objective=Objective(identity=MaxMargin(), weight=1.0, views=Views(draws=2)),
    )


def brep_mi(constants: Constants = "cpu") -> ClassInversion:
    """Boundary repulsion: labels alone, on spheres that grow as far as the class reaches.

    References: Kahla et al., CVPR 2022.

    Raises:
        BadPlan: if there are no such constants.
    """
    paper = _is_paper(constants)
    return ClassInversion(
        name="BREP-MI",
        prior=_wasserstein(paper),
        start=LabelSearch() if paper else LabelSearch(most=30_000),
        search=Sphere() if paper else Sphere(patience=60),
    )


def _wasserstein(paper: bool) -> Wasserstein:
    return Wasserstein() if paper else Wasserstein(critic_width=16, rules=_CPU_RULES)


def _is_paper(constants: str) -> bool:
    if constants not in get_args(Constants):
        raise BadPlan(f"constants are paper or cpu, got '{constants}'")
    return constants == "paper"


PRESETS = {
    "brep-mi": brep_mi,
    "gmi": gmi,
    "kedmi": kedmi,
    "lomma": lomma,
    "plg-mi": plg_mi,
}
"""By the names of the command line."""
