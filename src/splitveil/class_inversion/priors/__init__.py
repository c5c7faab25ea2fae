"""What the attacker believes images to be: trained here, one a file, or brought along."""

from splitveil.class_inversion.priors.base import Prior
from splitveil.class_inversion.priors.k_plus_one import KPlusOne
from splitveil.class_inversion.priors.plugged import load_prior
from splitveil.class_inversion.priors.pseudo_labelled import PseudoLabelled
from splitveil.class_inversion.priors.recipe import PriorRecipe, train_prior
from splitveil.class_inversion.priors.two_players import Rules
from splitveil.class_inversion.priors.wasserstein import Wasserstein

__all__ = [
    "KPlusOne",
    "Prior",
    "PriorRecipe",
    "PseudoLabelled",
    "Rules",
    "Wasserstein",
    "load_prior",
    "train_prior",
]
