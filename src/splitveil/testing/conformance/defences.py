"""What every component of a defence promises, to be inherited by the tests of a new one."""

import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import splitveil.defences
import splitveil.release
from splitveil.data import LabelledImages, TrainingImages
from splitveil.defences import Component, EpochState, Hardened, harden, parse_components
from splitveil.models.grafts import apply_grafts
from splitveil.models.weights import model_digest
from splitveil.release import Identity
from splitveil.release.stored import Stored, release_bytes
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched
from splitveil.training import Schedule

_CLASSES = 3
_EPOCHS = 2


class _Killed(Exception):
    """What a kill stands for."""


class DefenceConformance:
    """Subclass it and give one fixture, `component`, that returns a `Component`.

    `cut` names where the suite's small network is cut, maps (4, 6, 6); None for components that
    need none. Override `network` for others.
    """

    cut: str | None = "pool"

    def network(self) -> nn.Module:
        """A network of images (1, 12, 12) to three logits."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(1, 4, 3, padding=1),
            norm=nn.BatchNorm2d(4),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            classifier=nn.Linear(144, _CLASSES),
        )
        return nn.Sequential(layers)

    def _made(self) -> nn.Module:
        with Rng(1).as_global():
            return self.network().eval()

    def _images(self) -> TrainingImages:
        """Few images: validation ends in a batch of one, and no batch has every class for sure."""
        ends = (0, 96, 96 + 251, 96 + 251 + 48)
        g = Rng(7).torch()
        y = torch.arange(ends[-1]) % _CLASSES
        templates = torch.rand(_CLASSES, 1, 12, 12, generator=g)
        noise = torch.rand(ends[-1], 1, 12, 12, generator=g)
        x = 0.5 * templates[y] + 0.5 * noise
        parts = [LabelledImages(x[a:b], y[a:b], torch.arange(a, b)) for a, b in pairwise(ends)]
        return TrainingImages(name="few", train=parts[0], validation=parts[1], probe=parts[2])

    def _harden(
        self, component: Component, folder: Path | None = None, *, stop: int | None = None
    ) -> Hardened:
        def on_epoch(state: EpochState) -> None:
            if state.number == stop:
                raise _Killed

        model, images = self._made(), self._images()
        before = model_digest(model)
        with nothing_touched(images.train.x, images.validation.x):
            found = self._trained(model, images, component, folder, on_epoch)
        assert model_digest(model) == before, "the source was changed"
        assert all(p.requires_grad for p in model.parameters()), "the source was frozen"
        return found

    def _trained(
        self,
        model: nn.Module,
        images: TrainingImages,
        component: Component,
        folder: Path | None,
        on_epoch: Callable[[EpochState], None],
    ) -> Hardened:
        return harden(
            model,
            images,
            [component],
            schedule=Schedule(epochs=_EPOCHS, batch=32, learning_rate=1e-2),
            rng=Rng(0),
            cut=self.cut,
            patience=None,
            folder=folder,
            on_epoch=on_epoch,
        )

    def test_says_what_it_is(self, component: Component) -> None:
        assert component.name, "a component has a name"
        assert component.reference, "a component names its source"
        names = vars(splitveil.release) | vars(splitveil.defences)
        names = names | vars(sys.modules[type(component).__module__])
        assert eval(repr(component), dict(names)) == component, "repr does not rebuild"  # noqa: S307
        if type(component).__module__.startswith("splitveil."):
            assert parse_components(str(component)) == (component,), "str does not read back"

    def test_hardens_repeats_and_goes_on_after_a_kill(self, component: Component) -> None:
        """Same seed, same bits, killed or not; the source, the images and global state stay."""
        with tempfile.TemporaryDirectory() as place:
            whole = self._harden(component)
            try:
                self._harden(component, Path(place), stop=_EPOCHS)
            except _Killed:
                pass
            else:
                raise AssertionError("the training ended early")
            resumed = self._harden(component, Path(place))
        assert model_digest(whole.network) == model_digest(resumed.network), "other bits"
        assert whole.states == resumed.states, "other losses after a kill"
        assert model_digest(whole.network) != model_digest(self._made()), "nothing was trained"
        losses = torch.tensor([state.validation_loss for state in whole.states])
        assert bool(losses.isfinite().all()), f"losses are not finite: {losses.tolist()}"
        self._check_partition(whole)

    def _check_partition(self, found: Hardened) -> None:
        """What ships is what was trained: halves, structure and release survive storage."""
        if self.cut is None:
            assert found.partition is None
            return
        partition = found.partition
        assert partition is not None, "a hardening at a cut gives two halves"
        x = self._images().probe.x
        with torch.no_grad():
            z = partition.features(x)
            assert torch.equal(partition.predict(z), found.network(x)), "halves answer otherwise"
        again = self._made()
        apply_grafts(again, found.grafts)
        again.load_state_dict(found.network.state_dict())
        assert torch.equal(again.eval()(x), found.network(x)), "structures are not rebuilt"
        if isinstance(partition.release, Identity):
            return
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "release.safetensors"
            path.write_bytes(release_bytes(partition.release))
            stored = Stored(str(path)).fit(z)
        sent = partition.release(z, Rng(3).torch())
        assert torch.equal(stored(z, Rng(3).torch()), sent), "the release is not rebuilt"
