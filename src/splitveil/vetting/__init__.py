"""Is a model you were shipped honest? Statistics, a null of honest networks, three answers.

`vet` measures a network and compares it with a `Null`: shipped for the bundled networks and images
(`shipped_null`), or trained on the spot (`shadow_null`). `build_panel` and `benchmark` try
detectors of one's own. `Guard` watches a network's answers on the device. Names are loaded when
first used, so that a device with a guard needs nothing that trains, plots or reads images.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitveil.vetting.against_shadows import images_digest as images_digest
    from splitveil.vetting.against_shadows import shadow_maker as shadow_maker
    from splitveil.vetting.against_shadows import shadow_null as shadow_null
    from splitveil.vetting.against_shadows import vet as vet
    from splitveil.vetting.calibration import bundled_null as bundled_null
    from splitveil.vetting.calibration import guard_null as guard_null
    from splitveil.vetting.cases import Case as Case
    from splitveil.vetting.cases import Detector as Detector
    from splitveil.vetting.detectors import Benchmark as Benchmark
    from splitveil.vetting.detectors import benchmark as benchmark
    from splitveil.vetting.detectors import find_detector as find_detector
    from splitveil.vetting.discriminant import Discriminant as Discriminant
    from splitveil.vetting.guard import Guard as Guard
    from splitveil.vetting.guard import GuardNull as GuardNull
    from splitveil.vetting.looking import look as look
    from splitveil.vetting.null import Null as Null
    from splitveil.vetting.null import null_from as null_from
    from splitveil.vetting.null import shipped_null as shipped_null
    from splitveil.vetting.onnx_network import OnnxNetwork as OnnxNetwork
    from splitveil.vetting.panel_nets import Member as Member
    from splitveil.vetting.panel_nets import build_panel as build_panel
    from splitveil.vetting.panel_nets import read_panel as read_panel
    from splitveil.vetting.roc_curve import Roc as Roc
    from splitveil.vetting.roc_curve import roc as roc
    from splitveil.vetting.shadows import Recipe as Recipe
    from splitveil.vetting.shadows import Shadow as Shadow
    from splitveil.vetting.shadows import small_network as small_network
    from splitveil.vetting.shadows import train_shadow as train_shadow
    from splitveil.vetting.shadows import train_shadows as train_shadows
    from splitveil.vetting.statistics import Answers as Answers
    from splitveil.vetting.statistics import LastLayer as LastLayer
    from splitveil.vetting.statistics import effective_rank as effective_rank
    from splitveil.vetting.statistics import kernel_probe as kernel_probe
    from splitveil.vetting.statistics import last_layer_gain as last_layer_gain
    from splitveil.vetting.statistics import linear_probe as linear_probe
    from splitveil.vetting.statistics import measure as measure
    from splitveil.vetting.statistics import residual_gradient as residual_gradient
    from splitveil.vetting.statistics import saliency as saliency
    from splitveil.vetting.statistics import spread as spread
    from splitveil.vetting.verdict import Answer as Answer
    from splitveil.vetting.verdict import Vetting as Vetting
    from splitveil.vetting.verdict import judge as judge

_HOMES = {
    "Answer": "verdict",
    "Answers": "statistics",
    "Benchmark": "detectors",
    "Case": "cases",
    "Detector": "cases",
    "Discriminant": "discriminant",
    "Guard": "guard",
    "GuardNull": "guard",
    "LastLayer": "statistics",
    "Member": "panel_nets",
    "Null": "null",
    "OnnxNetwork": "onnx_network",
    "Recipe": "shadows",
    "Roc": "roc_curve",
    "Shadow": "shadows",
    "Vetting": "verdict",
    "benchmark": "detectors",
    "build_panel": "panel_nets",
    "bundled_null": "calibration",
    "effective_rank": "statistics",
    "find_detector": "detectors",
    "guard_null": "calibration",
    "images_digest": "against_shadows",
    "judge": "verdict",
    "kernel_probe": "statistics",
    "last_layer_gain": "statistics",
    "linear_probe": "statistics",
    "look": "looking",
    "measure": "statistics",
    "null_from": "null",
    "read_panel": "panel_nets",
    "residual_gradient": "statistics",
    "roc": "roc_curve",
    "saliency": "statistics",
    "shadow_maker": "against_shadows",
    "shadow_null": "against_shadows",
    "shipped_null": "null",
    "small_network": "shadows",
    "spread": "statistics",
    "train_shadow": "shadows",
    "train_shadows": "shadows",
    "vet": "against_shadows",
}

__all__ = [
    "Answer",
    "Answers",
    "Benchmark",
    "Case",
    "Detector",
    "Discriminant",
    "Guard",
    "GuardNull",
    "LastLayer",
    "Member",
    "Null",
    "OnnxNetwork",
    "Recipe",
    "Roc",
    "Shadow",
    "Vetting",
    "benchmark",
    "build_panel",
    "bundled_null",
    "effective_rank",
    "find_detector",
    "guard_null",
    "images_digest",
    "judge",
    "kernel_probe",
    "last_layer_gain",
    "linear_probe",
    "look",
    "measure",
    "null_from",
    "read_panel",
    "residual_gradient",
    "roc",
    "saliency",
    "shadow_maker",
    "shadow_null",
    "shipped_null",
    "small_network",
    "spread",
    "train_shadow",
    "train_shadows",
    "vet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
