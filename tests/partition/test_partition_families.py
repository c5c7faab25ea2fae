"""Families of timm and torchvision: exact on the menu, and in train under the same seed.

Both packages are extras. A torchvision built for another torch lacks operators; two of their
schemas are enough to import its models.
"""

import copy
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitveil.partition import trace
from splitveil.partition.graph import _attempt, _by_export
from splitveil.partition.verify import same
from splitveil.rng import Rng

FAMILIES = (
    ("torchvision", "resnet18", 32),
    ("torchvision", "mobilenet_v3_small", 32),
    ("torchvision", "shufflenet_v2_x0_5", 32),
    ("torchvision", "regnet_y_400mf", 32),
    ("torchvision", "squeezenet1_1", 32),
    ("timm", "vgg11_bn", 32),
    ("timm", "vit_tiny_patch16_224", 32),
    ("timm", "deit_tiny_patch16_224", 32),
    ("timm", "convnext_atto", 32),
    ("timm", "tf_efficientnet_lite0", 32),
    ("timm", "densenet121", 32),
    ("timm", "swin_tiny_patch4_window7_224", 56),
    ("timm", "mixer_s32_224", 64),
    ("timm", "ghostnet_050", 32),
)
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
    "int pooled_width, int sampling_ratio, bool aligned) -> Tensor",
)


@pytest.fixture(scope="module")
def packages() -> dict[str, Any]:
    """torchvision and timm, or a skip; the schemas live as long as the process."""
    if find_spec("torchvision") is None or find_spec("timm") is None:
        pytest.skip("the extras timm and torchvision are not installed")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    try:
        import timm
        import torchvision.models
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm or torchvision cannot be imported: {error}")
    return {"library": library, "timm": timm, "torchvision": torchvision.models}


def build(packages: dict[str, Any], package: str, name: str, size: int) -> nn.Module:
    with Rng(1).child(name).as_global():
        if package == "torchvision":
            return getattr(packages[package], name)(num_classes=10).eval()
        sized = {"img_size": size} if "patch" in name or "mixer" in name else {}
        made: nn.Module = packages["timm"].create_model(
            name, pretrained=False, num_classes=10, **sized
        )
        return made.eval()


def run(module: Any, x: Tensor) -> Any:
    with Rng(9).as_global(), torch.no_grad():
        return module(x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("package", "name", "size"), FAMILIES)
def test_family_is_exact_on_the_menu(
    packages: dict[str, Any], package: str, name: str, size: int
) -> None:
    model = build(packages, package, name, size)
    x = torch.rand(3, 3, size, size, generator=Rng(2).torch())
    traced = trace(model, x[:2])
    assert traced.tracer == "fx"
    assert traced.trainable, traced.notes
    menu = traced.menu()
    assert len(menu) >= 10
    expected = run(model, x)
    for cut in menu:
        partition = traced.split(cut)
        assert same(run(partition.tail, run(partition.head, x)), expected), cut.name
    for cut in menu[:: max(1, len(menu) // 3)]:
        partition = traced.split(cut)
        joined = nn.Sequential(partition.head, partition.tail).train()
        reference = copy.deepcopy(model).train()
        assert same(run(joined, x), run(reference, x)), cut.name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "tf_efficientnet_lite0"])
def test_family_has_the_same_ids_under_both_tracers(packages: dict[str, Any], name: str) -> None:
    model = build(packages, "timm", name, 32)
    x = torch.rand(2, 3, 32, 32, generator=Rng(2).torch())
    by_export = _attempt("export", _by_export, model, x)
    assert [cut.id for cut in trace(model, x).menu()] == [cut.id for cut in by_export.menu()]
