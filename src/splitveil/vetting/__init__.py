"""Is a model you were shipped honest? Statistics, a null of honest networks, three answers.

`vet` measures a network and compares it with a `Null`: shipped for the bundled networks and images
(`shipped_null`), or trained on the spot (`shadow_null`). `build_panel` and `benchmark` try
detectors of one's own. `Guard` watches a network's answers on the device.
"""

from splitveil.vetting.against_shadows import images_digest, shadow_maker, shadow_null, vet
from splitveil.vetting.answers import Answers, LastLayer
from splitveil.vetting.calibration import bundled_null, guard_null
from splitveil.vetting.catalogue import measure
from splitveil.vetting.detectors import Benchmark, Case, Detector, benchmark, find_detector
from splitveil.vetting.guard import Guard, GuardNull
from splitveil.vetting.kernel_probe import kernel_probe
from splitveil.vetting.linear_probe import linear_probe
from splitveil.vetting.looking import look
from splitveil.vetting.null import Null, null_from, shipped_null
from splitveil.vetting.onnx_network import OnnxNetwork
from splitveil.vetting.panel_nets import Member, build_panel, read_panel
from splitveil.vetting.residual_gradient import last_layer_gain, residual_gradient
from splitveil.vetting.roc import Roc, roc
from splitveil.vetting.saliency import saliency
from splitveil.vetting.shadows import Recipe, Shadow, small_network, train_shadow, train_shadows
from splitveil.vetting.spread import effective_rank, spread
from splitveil.vetting.verdict import Answer, Vetting, judge

__all__ = [
    "Answer",
    "Answers",
    "Benchmark",
    "Case",
    "Detector",
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
