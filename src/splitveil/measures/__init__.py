"""Numbers with intervals, units and kinds: what an attack got, what a cut keeps, what is proved.

| measure | of | kind |
|---|---|---|
| `mse`, `psnr`, `psnr_of_mean`, `ssim` | reconstructions and originals | measured |
| `accuracy`, `agreement` | the network's answers | measured |
| `ms_ssim`, `band_mse`, `r_squared` | reconstructions and originals | measured |
| `recognition`, `feature_distance`, `perceptual_distance` | the same, a network | measured |
| `retrieval` | reconstructions or embeddings, and a gallery | measured |
| `risk` | reconstructions, originals, whitened auxiliary images | measured |
| `linear_code_ratio`, `linear_code_log_ratio` | directions and a code size | model |
| `attribute_lift` | attributes inferred, and guessed from the label | measured |
| `verification`, `roc_curve` | scores of pairs, same person or not | measured |
| `leakage`, `tail_leakage` | errors of an attack and of its floor | measured |
| `tail_of` | one number an image | measured |
| `paired_difference`, `log_ratio`, `paired_p_value` | two on the same images | measured |
| `equivalence` | the same, and a margin | measured |
| `mean_over_seeds`, `log_ratio_over_seeds` | models x attack seeds x images | measured |
| `radius` | streaming class moments of a cut | proxy |
| `class_geometry` | sketched class means and a sample of a cut | proxy |
| `vortex_features`, `vortex_outputs`, `radius_change` | a network in training | proxy, measured |
| `genie_bound`, `genie_curve`, `genie_stream` | images, features, noise | theorem at confidence |
| `noise_needed` | the same, for a family of releases | noise and the theorem it buys |
| `van_trees`, `van_trees_trace`, `efroimovich` | a declared source, a head, noise | model, lower |
| `dfil` | images, a head, noise | proxy |
| `gaussian_dp_success`, `fano_success` | a release, `pair_ball` | theorem at confidence, upper |
| `success_error` | images and a release | theorem at confidence, lower |
| `bayes_identification` | images, features, noise | theorem at confidence, upper |
| `distance_correlation`, `hsic` | images and features | proxy |
| `mine`, `nwj`, `info_nce`, `club` | images and features | proxy |
| `genie_metric_bound` | the same, and any distance | theorem at confidence, lower |
| `orbit_bound` | images, a head, noise, transforms | theorem at confidence or model, lower |
| `payload_bound`, `capacity_bound` | a release | theorem, upper |
| `variational_bound`, `log_det_bound` | features, a noisy release | theorem at confidence, upper |
| `redundancy_bound` | the same and labels | theorem at confidence, upper |
| `leave_one_out_bounds` | features, a noisy release | theorem at confidence, both sides |
| `identification_floor` | an attack's guesses | theorem at confidence, lower |
| `shannon_bound`, `water_filled_bound` | entropies and an information | the weakest given |
| `label_side_bound`, `dithered_bound`, `retention` | the same | the weakest given |
| `entropy_floor` | cells of a quantised variable | theorem at confidence, lower |
| `mixture_entropy_bounds` | a declared mixture | model |
| `leak_budget`, `spectral_leak_budget` | moments and a stated noise | model |
| `log_det_estimates` | features and a stated noise | proxy |
"""

from splitveil.measures.attribute_lift import attribute_lift
from splitveil.measures.bands import Bands, CosineBands, PrincipalBands, band_errors, band_mse
from splitveil.measures.fisher import (
    BayesianInformation,
    MixtureSource,
    bayesian_information,
    dfil,
    efroimovich,
    van_trees,
    van_trees_trace,
)
from splitveil.measures.genie import (
    GalleryBlock,
    GeniePoint,
    genie_bound,
    genie_curve,
    genie_stream,
)
from splitveil.measures.genie_metric import (
    genie_metric_bound,
)
from splitveil.measures.genie_orbit import Orbit, orbit_bound
from splitveil.measures.geometry import class_geometry
from splitveil.measures.identification import (
    bayes_identification,
    fano_success,
    gaussian_dp_success,
    kl_inverse,
    local_dp_success,
    pair_ball,
    success_error,
)
from splitveil.measures.information import (
    FlowTraining,
    LeakBudget,
    capacity_bound,
    dithered_bound,
    entropy_floor,
    identification_floor,
    label_side_bound,
    leak_budget,
    leave_one_out_bounds,
    log_det_bound,
    log_det_estimates,
    mixture_entropy_bounds,
    payload_bound,
    redundancy_bound,
    retention,
    shannon_bound,
    spectral_leak_budget,
    variational_bound,
    water_filled_bound,
)
from splitveil.measures.leakage import leakage, tail_leakage
from splitveil.measures.linkage import roc_curve, verification
from splitveil.measures.lpips import lpips
from splitveil.measures.ms_ssim import ms_ssim, ms_ssim_per_image
from splitveil.measures.noise_needed import (
    NoiseNeeded,
    noise_needed,
)
from splitveil.measures.over_seeds import log_ratio_over_seeds, mean_over_seeds
from splitveil.measures.paired import (
    Equivalence,
    equivalence,
    log_ratio,
    paired_difference,
    paired_p_value,
)
from splitveil.measures.perception import efficientnet_lite0
from splitveil.measures.proxies import (
    Calibrated,
    CriticTraining,
    Rung,
    calibrated,
    calibration_ladder,
    club,
    distance_correlation,
    hsic,
    info_nce,
    mine,
    nwj,
)
from splitveil.measures.r_squared import r_squared, spread_per_image
from splitveil.measures.radius import radius
from splitveil.measures.recognition import (
    feature_distance,
    feature_distance_per_image,
    perceptual_distance,
    recognition,
)
from splitveil.measures.reconstruction import (
    mean_of,
    mse,
    mse_per_image,
    psnr,
    psnr_of_mean,
    psnr_per_image,
    ssim,
    ssim_per_image,
)
from splitveil.measures.retrieval import Ranks, retrieval, retrieval_ranks
from splitveil.measures.risk import (
    LinearCode,
    Risk,
    linear_code_log_ratio,
    linear_code_ratio,
    risk,
    risk_per_image,
)
from splitveil.measures.tails import tail_of
from splitveil.measures.utility import accuracy, agreement, share_of
from splitveil.measures.vortex import (
    RadiusChange,
    radius_change,
    vortex_features,
    vortex_outputs,
)

__all__ = [
    "Bands",
    "BayesianInformation",
    "Calibrated",
    "CosineBands",
    "CriticTraining",
    "Equivalence",
    "FlowTraining",
    "GalleryBlock",
    "GeniePoint",
    "LeakBudget",
    "LinearCode",
    "MixtureSource",
    "NoiseNeeded",
    "Orbit",
    "PrincipalBands",
    "RadiusChange",
    "Ranks",
    "Risk",
    "Rung",
    "accuracy",
    "agreement",
    "attribute_lift",
    "band_errors",
    "band_mse",
    "bayes_identification",
    "bayesian_information",
    "calibrated",
    "calibration_ladder",
    "capacity_bound",
    "class_geometry",
    "club",
    "dfil",
    "distance_correlation",
    "dithered_bound",
    "efficientnet_lite0",
    "efroimovich",
    "entropy_floor",
    "equivalence",
    "fano_success",
    "feature_distance",
    "feature_distance_per_image",
    "gaussian_dp_success",
    "genie_bound",
    "genie_curve",
    "genie_metric_bound",
    "genie_stream",
    "hsic",
    "identification_floor",
    "info_nce",
    "kl_inverse",
    "label_side_bound",
    "leak_budget",
    "leakage",
    "leave_one_out_bounds",
    "linear_code_log_ratio",
    "linear_code_ratio",
    "local_dp_success",
    "log_det_bound",
    "log_det_estimates",
    "log_ratio",
    "log_ratio_over_seeds",
    "lpips",
    "mean_of",
    "mean_over_seeds",
    "mine",
    "mixture_entropy_bounds",
    "ms_ssim",
    "ms_ssim_per_image",
    "mse",
    "mse_per_image",
    "noise_needed",
    "nwj",
    "orbit_bound",
    "pair_ball",
    "paired_difference",
    "paired_p_value",
    "payload_bound",
    "perceptual_distance",
    "psnr",
    "psnr_of_mean",
    "psnr_per_image",
    "r_squared",
    "radius",
    "radius_change",
    "recognition",
    "redundancy_bound",
    "retention",
    "retrieval",
    "retrieval_ranks",
    "risk",
    "risk_per_image",
    "roc_curve",
    "shannon_bound",
    "share_of",
    "spectral_leak_budget",
    "spread_per_image",
    "ssim",
    "ssim_per_image",
    "success_error",
    "tail_leakage",
    "tail_of",
    "van_trees",
    "van_trees_trace",
    "variational_bound",
    "verification",
    "vortex_features",
    "vortex_outputs",
    "water_filled_bound",
]
