"""What arms share: reference networks and Fashion-MNIST, each loaded once a process."""

from dataclasses import dataclass, field
from functools import cache

from splitveil.audit.store import Run
from splitveil.data import Splits, TrainingImages, load_data, load_training
from splitveil.models import LoadedModel, load_model
from splitveil.partition import Traced, trace

_SIZE = 32


@dataclass(frozen=True, eq=False)
class Reference:
    """A bundled network and its graph."""

    model: LoadedModel
    traced: Traced


@dataclass(frozen=True, eq=False)
class Bench:
    """Gives arms what they work on; `store` is the run's folder, with earlier arms' artefacts."""

    store: Run | None = field(default=None)

    def images(self) -> Splits:
        """Full Fashion-MNIST at 32x32 without near-duplicates: attacker's, validation, test.

        Raises:
            BadData: if the Debian package is not installed.
        """
        return _images()

    def training(self) -> TrainingImages:
        """The images on which the bundled networks were trained, 32x32.

        Raises:
            BadData: if the Debian package is not installed.
        """
        return _training()

    def reference(self, name: str) -> Reference:
        """A bundled network by name, traced; it is shared, so leave it as it is."""
        return _reference(name)


@cache
def _images() -> Splits:
    return load_data("fashion-mnist", size=_SIZE, channels=1).without_duplicates()


@cache
def _training() -> TrainingImages:
    return load_training("fashion-mnist", size=_SIZE, channels=1)


@cache
def _reference(name: str) -> Reference:
    model = load_model(name)
    return Reference(model, trace(model.network, _images().auxiliary.x[:2]))
