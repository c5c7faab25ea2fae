"""tail(head(x)) is the model, bit for bit, at every cut."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from handmade import BY_FX, Functional, OnlyExport, Several, Shared, Untraceable, WithBranching
from torch import Tensor, nn

from splitveil.errors import BadModel, UnsupportedCut
from splitveil.models.reference import ir, resnet, vgg, vit
from splitveil.partition import CutKind, Traced, find_cuts, split, trace
from splitveil.partition.graph import _attempt, _by_export
from splitveil.partition.verify import same
from splitveil.rng import Rng

REFERENCE = (vgg, resnet, vit, ir)


def made(factory: Callable[[], nn.Module]) -> nn.Module:
    with Rng(5).as_global():
        return factory().eval()


def in_train(module: Callable[[Tensor], Any], x: Tensor) -> Any:
    with Rng(9).as_global(), torch.no_grad():
        return module(x)


def assert_exact(traced: Traced, model: nn.Module, x: Tensor, cuts: Any) -> None:
    with torch.no_grad():
        expected = model(x.clone())
        for cut in cuts:
            partition = traced.split(cut)
            z = partition.head(x)
            assert z.shape == (len(x), cut.layout.size), cut.name
            assert same(partition.tail(z), expected), cut.name


def assert_exact_in_train(traced: Traced, model: nn.Module, x: Tensor, cuts: Any) -> None:
    for cut in cuts:
        reference = copy.deepcopy(model).train()
        partition = traced.split(cut)
        partition.head.train()
        partition.tail.train()
        expected = in_train(reference, x.clone())
        joined = nn.Sequential(partition.head, partition.tail)
        assert same(in_train(joined, x), expected), cut.name


@pytest.mark.parametrize("factory", REFERENCE)
def test_every_prefix_of_the_reference_nets_is_exact(factory: Callable[[], nn.Module]) -> None:
    model = made(factory)
    x = torch.rand(3, 1, 32, 32, generator=Rng(1).torch())
    traced = trace(model, x[:1])
    assert traced.trainable
    assert traced.tracer == "fx"
    assert len(traced.prefixes()) >= 30
    assert {cut.id for cut in traced.menu()} <= {cut.id for cut in traced.prefixes()}
    assert_exact(traced, model, x, traced.prefixes())
    assert_exact_in_train(traced, model, x, traced.menu()[::5])


@pytest.mark.parametrize("factory", BY_FX)
def test_hand_made_nets_are_exact_everywhere(
    factory: Callable[[], nn.Module], images: Tensor
) -> None:
    model = made(factory)
    traced = trace(model, images[:2])
    assert traced.tracer == "fx"
    assert traced.trainable, traced.notes
    assert traced.menu()
    cuts = {cut.id: cut for cut in (*traced.prefixes(), *traced.frontiers(60))}.values()
    assert_exact(traced, model, images, cuts)
    assert_exact(traced, model, images[:1], traced.menu())
    assert_exact_in_train(traced, model, images, traced.menu())


@pytest.mark.parametrize("factory", [*REFERENCE, Shared, Functional, Several])
def test_ids_and_names_are_the_same_under_both_tracers(
    factory: Callable[[], nn.Module],
) -> None:
    channels = 1 if factory in REFERENCE else 3
    model, x = made(factory), torch.rand(2, channels, 32, 32, generator=Rng(1).torch())
    if factory is Several:
        x = x[..., :16, :16]
    by_fx, by_export = trace(model, x), _attempt("export", _by_export, model, x)
    assert by_export.trainable
    assert [(c.id, c.name) for c in by_fx.menu()] == [(c.id, c.name) for c in by_export.menu()]


def test_what_fx_cannot_follow_is_exported_and_still_trains(images: Tensor) -> None:
    model = made(OnlyExport)
    traced = trace(model, images)
    assert traced.tracer == "export"
    assert traced.trainable, traced.notes
    assert_exact(traced, model, images[:5], traced.prefixes())
    assert_exact_in_train(traced, model, images, traced.menu())
    head = traced.split(traced.cut("act")).head.train()
    before = [buffer.clone() for buffer in head.buffers()]
    head(images)
    assert any(not torch.equal(a, b) for a, b in zip(before, head.buffers(), strict=True))


def test_what_nobody_can_follow_is_refused_in_one_line(images: Tensor) -> None:
    with pytest.raises(UnsupportedCut, match="control flow") as caught:
        trace(made(Untraceable), images)
    assert "\n" not in str(caught.value)
    assert "fx:" in str(caught.value)
    assert "export:" in str(caught.value)


def test_only_the_branching_module_is_kept_whole(images: Tensor) -> None:
    traced = trace(made(WithBranching), images)
    assert "branch" in [cut.name for cut in traced.prefixes()]
    assert [cut.name for cut in traced.menu()] == ["conv1", "conv2", "mean"]


def test_bad_models_are_refused_with_the_reason(images: Tensor) -> None:
    model = made(Shared)
    with torch.no_grad():
        model.get_parameter("conv.weight")[0, 0, 0, 0] = torch.nan
    with pytest.raises(BadModel, match=r"conv\.weight"):
        trace(model, images)
    with pytest.raises(BadModel, match=r"\(1, 16, 16\)"):
        trace(made(Shared), images[:, :1])
    with pytest.raises(BadModel, match="at least one image"):
        trace(made(Shared), images[:0])


def test_the_model_itself_stays_untouched(images: Tensor) -> None:
    model = made(Shared).train()
    model.get_submodule("act").eval()
    calls: list[str] = []
    model.get_submodule("conv").register_forward_hook(lambda *_: calls.append("conv"))
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in model.modules()]
    gradients = [parameter.requires_grad for parameter in model.parameters()]
    generator = torch.get_rng_state()
    traced = trace(model, images)
    partition = traced.split(traced.menu()[1])
    partition.head.train()(images)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert [parameter.requires_grad for parameter in model.parameters()] == gradients
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any("fx" in type(value).__module__ for value in vars(model).values())


def test_halves_train_on_copies_that_share_what_both_use(images: Tensor) -> None:
    model = made(Shared)
    traced = trace(model, images)
    cut = traced.cut("act")
    partition = traced.split(cut)
    assert any("share parameters" in note and "conv" in note for note in partition.notes)
    assert partition.head.network.conv.weight is partition.tail.network.conv.weight  # type: ignore[union-attr]
    assert all(parameter.requires_grad for parameter in partition.head.parameters())
    partition.tail(partition.head(images)).sum().backward()
    assert partition.head.network.stem.weight.grad is not None  # type: ignore[union-attr]
    with torch.no_grad():
        for parameter in partition.head.parameters():
            parameter.zero_()
    assert_exact(traced, model, images, [cut])
    assert not traced.split(traced.cut("stem")).notes


def test_features_of_all_cuts_come_from_one_pass(images: Tensor) -> None:
    model = made(Several)
    traced = trace(model, images)
    cuts = traced.prefixes()
    with torch.no_grad():
        outputs, found = traced.forward_with_features(images, cuts)
        assert same(outputs, model(images))
        assert list(found) == [cut.id for cut in cuts]
        for cut in cuts:
            assert same(found[cut.id], traced.split(cut).head(images))
        early = traced.features(images, cuts[:2])
        assert same(early, {cut.id: found[cut.id] for cut in cuts[:2]})


def test_the_two_short_calls_agree_with_trace(images: Tensor) -> None:
    model = made(Functional)
    cuts = find_cuts(model, images)
    assert cuts == list(trace(model, images).menu())
    assert len(find_cuts(model, images, family="prefix")) > len(cuts)
    partition = split(model, cuts[0].name, example=images)
    assert partition.cut == cuts[0]
    with torch.no_grad():
        assert same(partition.tail(partition.head(images)), model(images))
        assert same(partition.predict(partition.transmit(images, Rng(0))), model(images))


def test_a_residual_cut_crosses_branch_and_skip() -> None:
    traced = trace(made(resnet), torch.rand(1, 1, 32, 32, generator=Rng(1).torch()))
    inside = [cut for cut in traced.menu() if cut.kind is CutKind.INSIDE]
    assert [cut.name for cut in inside] == [
        f"stage{stage}.block{block}.relu1" for stage in (1, 2, 3) for block in (1, 2, 3)
    ]
    assert all(len(cut.layout.parts) == 2 for cut in inside)
    assert all(len(c.layout.parts) == 1 for c in traced.menu() if c.kind is not CutKind.INSIDE)
