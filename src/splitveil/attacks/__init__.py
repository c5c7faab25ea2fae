"""Attacks: each tries to rebuild the input from what was sent."""

from splitveil.attacks.adversarial_decoder import AdversarialDecoder
from splitveil.attacks.attention_decoder import AttentionDecoder
from splitveil.attacks.class_mean import ClassMean
from splitveil.attacks.decoder import Decoder
from splitveil.attacks.deep_image_prior import DeepImagePrior
from splitveil.attacks.enhanced_decoder import EnhancedDecoder
from splitveil.attacks.enhanced_representation import EnhancedRepresentation
from splitveil.attacks.inverse_residual import InverseResidual
from splitveil.attacks.likelihood import Likelihood
from splitveil.attacks.log_scores import LogScores
from splitveil.attacks.mean_image import MeanImage
from splitveil.attacks.nearest_auxiliary import NearestAuxiliary
from splitveil.attacks.nearest_features import NearestFeatures
from splitveil.attacks.partial_least_squares import PartialLeastSquares
from splitveil.attacks.patch_ridge import PatchRidge
from splitveil.attacks.peel import Peel, PublishedPeel
from splitveil.attacks.posterior_mean import PosteriorMean
from splitveil.attacks.refined import Refined
from splitveil.attacks.ridge import Ridge
from splitveil.attacks.shadow_encoder import ShadowEncoder
from splitveil.attacks.small_decoder import SmallDecoder
from splitveil.attacks.unrolled import Unrolled
from splitveil.attacks.unsplit import UnSplit

__all__ = [
    "AdversarialDecoder",
    "AttentionDecoder",
    "ClassMean",
    "Decoder",
    "DeepImagePrior",
    "EnhancedDecoder",
    "EnhancedRepresentation",
    "InverseResidual",
    "Likelihood",
    "LogScores",
    "MeanImage",
    "NearestAuxiliary",
    "NearestFeatures",
    "PartialLeastSquares",
    "PatchRidge",
    "Peel",
    "PosteriorMean",
    "PublishedPeel",
    "Refined",
    "Ridge",
    "ShadowEncoder",
    "SmallDecoder",
    "UnSplit",
    "Unrolled",
]
