"""What Fisher information says of attackers: for a declared source, or as a proxy."""

from splitveil.measures.fisher.dfil import dfil
from splitveil.measures.fisher.efroimovich import efroimovich
from splitveil.measures.fisher.importance import (
    Estimator,
    ImportanceAlong,
    LayerImportance,
    layer_importance,
    surprise,
)
from splitveil.measures.fisher.information import BayesianInformation, bayesian_information
from splitveil.measures.fisher.source import MixtureSource
from splitveil.measures.fisher.van_trees import van_trees, van_trees_trace

__all__ = [
    "BayesianInformation",
    "Estimator",
    "ImportanceAlong",
    "LayerImportance",
    "MixtureSource",
    "bayesian_information",
    "dfil",
    "efroimovich",
    "layer_importance",
    "surprise",
    "van_trees",
    "van_trees_trace",
]
