"""What an attack on training data came to: judges, distances, baselines, robust accuracy."""

from splitveil.class_inversion.evaluation.baselines import Baseline, best_public, random_draws
from splitveil.class_inversion.evaluation.curve import Curve, Point, seconds_to
from splitveil.class_inversion.evaluation.distances import (
    kernel_distance,
    nearest_in_class,
    to_class_mean,
)
from splitveil.class_inversion.evaluation.frechet import frechet_distance
from splitveil.class_inversion.evaluation.judges import Judge, Judges, judge, train_judges
from splitveil.class_inversion.evaluation.over_classes import mean_over_classes, net_accuracy
from splitveil.class_inversion.evaluation.robust import robust_accuracy, standing_images
from splitveil.class_inversion.evaluation.score import (
    IdentityOracle,
    Score,
    agreed,
    score,
)

__all__ = [
    "Baseline",
    "Curve",
    "IdentityOracle",
    "Judge",
    "Judges",
    "Point",
    "Score",
    "agreed",
    "best_public",
    "frechet_distance",
    "judge",
    "kernel_distance",
    "mean_over_classes",
    "nearest_in_class",
    "net_accuracy",
    "random_draws",
    "robust_accuracy",
    "score",
    "seconds_to",
    "standing_images",
    "to_class_mean",
    "train_judges",
]
