"""Zone and jump on other data, under shifted attackers, and under permuted labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from splitveil.attacks import PatchRidge
from splitveil.attacks.classes import Classes
from splitveil.data import LabelledImages
from splitveil.defences import OneHot, harden
from splitveil.measures import mse_per_image
from splitveil.models.pixel_model import PixelModel
from splitveil.models.reference import vgg
from splitveil.partition import Cut, Traced, trace
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.experiment import Arm, Measured
from splitveil.reproduce.gpz.interventions import projected
from splitveil.reproduce.gpz.probe import labels, ridge_errors
from splitveil.reproduce.gpz.rules import Sight, plain, zone_of
from splitveil.reproduce.gpz.sources import Study, study
from splitveil.reproduce.gpz.vortex import SETTINGS, features, folder_of
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box
from splitveil.training import Schedule

CUTS = ("pool1", "relu2", "pool2", "relu4", "pool3", "relu6", "pool4", "relu8", "pool5")
POOLS = ("pool1", "pool2", "pool3", "pool4", "pool5")
PADDED, LEAST = 4096, 128
_HIDDEN = 400
_KNOWN = 1000


@dataclass(frozen=True, kw_only=True)
class ZoneArm(Arm):
    """The reference vgg trained on some data: its zone by every rule, the jump, shifted attackers.

    With `widths` the pools' features are also padded and projected to one size.
    """

    data: str
    epochs: int = 5
    batch: int = 64
    widths: bool = False

    @property
    def minutes(self) -> float:
        return 0.6 if self.widths else 0.5

    def run(self, bench: Bench) -> Measured:
        found = study(self.data, folder_of(bench))
        traced = trace(self._train(found), found.splits.test.x[:2])
        hidden = found.splits.test.take(torch.arange(_HIDDEN))
        sides = {"own": found.splits.auxiliary, "shifted": found.shifted, "hidden": hidden}
        z = {name: features(traced, images, CUTS) for name, images in sides.items()}
        errors = self._errors(traced, sides, z)
        cuts = tuple(traced.cut(name) for name in CUTS)
        held = joined(sides["own"], hidden)
        sight = Sight(
            traced=traced,
            cuts=cuts,
            held=held,
            z={cut.id: torch.cat([z["own"][cut.id], z["hidden"][cut.id]]) for cut in cuts},
            errors={
                cut.id: {
                    "Ridge": errors[f"own/{cut.name}"],
                    "PatchRidge": errors[f"patch/{cut.name}"],
                }
                for cut in cuts
            },
            floor=class_mean_error(sides["own"], hidden),
            classes=found.classes,
        )
        return Measured(
            details={"zone": plain(zone_of(sight)), "shifted": found.shifted_name},
            arrays=errors,
        )

    def _train(self, found: Study) -> PixelModel:
        x = found.training.train.x
        network = PixelModel(
            vgg(channels=x.shape[1], classes=found.classes),
            mean=[round(float(x.mean()), 4)],
            std=[round(float(x.std()), 4)],
        )
        trained = harden(
            network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            found.training,
            [OneHot()],
            schedule=Schedule(epochs=self.epochs, batch=self.batch, precision="bf16-mixed"),
            rng=Rng(self.seed, ("gpz", "elsewhere", self.data)),
            patience=None,
            start="scratch",
        ).network
        if not isinstance(trained, PixelModel):
            raise TypeError("hardening keeps the kind of network")
        return trained

    def _errors(
        self,
        traced: Traced,
        sides: Mapping[str, LabelledImages],
        z: Mapping[str, Mapping[str, torch.Tensor]],
    ) -> dict[str, NDArray[np.float64]]:
        """Errors by attacker and cut, the label unknown."""
        errors = {}
        hidden = sides["hidden"]
        for name in CUTS:
            cut = traced.cut(name)
            target = (z["hidden"][cut.id], hidden)
            for side in ("own", "shifted"):
                known = (z[side][cut.id], sides[side])
                errors[f"{side}/{name}"] = ridge_errors(known, target, labels_known=False)
            errors[f"patch/{name}"] = self._patch(traced, cut, sides["own"], target)
            if self.widths and name in POOLS:
                for how in ("padded", "projected"):
                    ours, theirs = (
                        (self._sized(z[side][cut.id], how), sides[side])
                        for side in ("own", "hidden")
                    )
                    errors[f"{how}/{name}"] = ridge_errors(ours, theirs, labels_known=False)
        return errors

    def _patch(
        self,
        traced: Traced,
        cut: Cut,
        known: LabelledImages,
        target: tuple[torch.Tensor, LabelledImages],
    ) -> NDArray[np.float64]:
        z, hidden = target
        partition = traced.split(cut)
        knowledge = white_box(partition, Auxiliary(known.x), knows_label=False)
        rng = Rng(self.seed, ("gpz", "patch"))
        fitted = PatchRidge(neighbourhoods=(3,)).fit(knowledge, rng.child("fit"))
        rebuilt = fitted(Observation(z[:, None], cut.layout), rng.child("answer"))
        return np.asarray(mse_per_image(rebuilt, hidden.x), dtype=np.float64)

    def _sized(self, z: torch.Tensor, how: str) -> torch.Tensor:
        if how == "padded":
            return torch.nn.functional.pad(z, (0, PADDED - z.shape[1]))
        return projected(z, LEAST, self.seed)


@dataclass(frozen=True, kw_only=True)
class PermutedZoneArm(Arm):
    """The zone of a bundled network on images whose labels stand in random order."""

    network: str

    @property
    def minutes(self) -> float:
        return 0.5

    def run(self, bench: Bench) -> Measured:
        images, rng = bench.images(), Rng(self.seed, ("gpz", "permuted zone"))
        known = _shuffled(images.auxiliary.take(torch.arange(_KNOWN)), rng.child("known"))
        hidden = _shuffled(images.test.take(torch.arange(_KNOWN)), rng.child("hidden"))
        traced = bench.reference(self.network).traced
        names = SETTINGS[self.network].cuts
        ours, theirs = (features(traced, part, names) for part in (known, hidden))
        cuts = tuple(traced.cut(name) for name in names)
        errors = {
            cut.id: {
                "Ridge": ridge_errors(
                    (ours[cut.id], known), (theirs[cut.id], hidden), labels_known=False
                )
            }
            for cut in cuts
        }
        sight = Sight(
            traced=traced,
            cuts=cuts,
            held=joined(known, hidden),
            z={cut.id: torch.cat([ours[cut.id], theirs[cut.id]]) for cut in cuts},
            errors=errors,
            floor=class_mean_error(known, hidden),
            classes=10,
        )
        return Measured(details={"zone": plain(zone_of(sight))})


def class_mean_error(known: LabelledImages, hidden: LabelledImages) -> float:
    """Error of answering with the mean of the attacker's images of the class."""
    classes = Classes.of(labels(known))
    flat = known.x.flatten(1)
    means = classes.means(flat, classes.rows(labels(known), len(known)))
    answer = means[classes.rows(labels(hidden), len(hidden))]
    return float((answer - hidden.x.flatten(1)).double().square().mean())


def joined(*parts: LabelledImages) -> LabelledImages:
    """Labelled images one after the other."""
    return LabelledImages(
        torch.cat([part.x for part in parts]), torch.cat([labels(part) for part in parts])
    )


def _shuffled(images: LabelledImages, rng: Rng) -> LabelledImages:
    order = torch.randperm(len(images), generator=rng.torch())
    return LabelledImages(images.x, labels(images)[order], images.ids)


STUDIES = ("fashion-mnist", "mnist", "emoji", "faces")


def arms(seeds: int) -> tuple[ZoneArm, ...]:
    """Fashion-MNIST first, then every other kind of data, whole seeds first."""
    first = [ZoneArm(data=STUDIES[0], seed=seed, widths=True) for seed in range(seeds)]
    others = [ZoneArm(data=name, seed=seed) for seed in range(seeds) for name in STUDIES[1:]]
    return (*first, *others)


def permuted_arms() -> tuple[PermutedZoneArm, ...]:
    """The bundled networks that have a zone to lose."""
    return tuple(PermutedZoneArm(network=name) for name in ("vgg", "resnet"))
