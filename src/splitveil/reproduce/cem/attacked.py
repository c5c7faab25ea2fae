"""One hardened network under attack."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from splitveil.attacks import Ridge, SmallDecoder
from splitveil.attacks.base import Reconstructor
from splitveil.data import LabelledImages
from splitveil.measures.reconstruction import mse_per_image, ssim_per_image
from splitveil.partition import Partition
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem.choosing import (
    NOISE,
    OURS,
    PLAIN,
    Chosen,
    Level,
    accuracy,
    number,
    priced,
    slowness,
)
from splitveil.reproduce.cem.images import ATTACKED, Images
from splitveil.reproduce.cem.networks import SMALL, hardened, images_for, recorded
from splitveil.reproduce.cem.rates import rates
from splitveil.reproduce.experiment import Arm, Measured
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box


@dataclass(frozen=True, kw_only=True)
class Attacked(Arm):
    """A base, alone or with a form of the price at its chosen strength, under attack.

    `reach` stretches the chosen fall of the rate target. Where the noise is another than that the
    strength was chosen at, or the network another, the target is the chosen share of the rate that
    the base itself reaches there. Arrays: mse and ssim of the attacked images under the attack that
    was better on other images.
    """

    data: str
    base: str
    form: str
    network: str = SMALL
    noise: float = NOISE
    reach: float = 1.0
    clusters: int = 5
    covariance: str = "isotropic"

    @property
    def minutes(self) -> float:
        return {"vgg": 1.2, "resnet": 4.0}.get(self.network, 0.4 * slowness(self.base))

    def run(self, bench: Bench) -> Measured:
        images = images_for(bench, self.data, self.network)
        text = self.text(bench)
        found = hardened(bench, images, text, data=self.data, network=self.network, seed=self.seed)
        own = Rng(self.seed, ("cem", "attacks"))
        details, arrays = attacks(found, images, own)
        details |= rates(found, images.training.train, images.choosing, classes=images.kind.classes)
        details |= {
            "text": text,
            "accuracy": accuracy(found, images.test, own),
            "values": found.cut.layout.size,
        }
        return Measured(details=details, arrays=arrays)

    def text(self, bench: Bench) -> str:
        """The components, with the chosen strength in them."""
        strength = 0.0 if self.form == PLAIN else self._strength(bench)
        return priced(
            self.base,
            self.form,
            strength,
            noise=self.noise,
            clusters=self.clusters,
            covariance=self.covariance,
        )

    def _strength(self, bench: Bench) -> float:
        elsewhere = self.network != SMALL
        chosen_on = "noise" if elsewhere else self.base
        chosen = recorded(bench, Chosen(data=self.data, base=chosen_on, form=self.form)).details
        rung = number(chosen, "rung")
        if self.form != OURS:
            return rung
        if elsewhere or self.noise != NOISE:
            bare = Attacked(
                data=self.data,
                base=self.base,
                form=PLAIN,
                network=self.network,
                noise=self.noise,
                seed=self.seed,
            )
            level = recorded(bench, bare).details
        else:
            level = recorded(bench, Level(data=self.data, base=self.base)).details
        return max(0.05, 1 - self.reach * (1 - rung)) * number(level, "rate")


def attacks(
    partition: Partition, images: Images, rng: Rng
) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Errors of the attack that is better on images it is chosen on; means of all."""
    test = LabelledImages(images.test.x[:ATTACKED])
    knowledge = white_box(partition, Auxiliary(images.auxiliary.x))
    picked: dict[str, float] = {}
    scored: dict[str, tuple[Tensor, Tensor]] = {}
    for attack in (Ridge(), SmallDecoder()):
        name = type(attack).__name__
        reconstruct = attack.fit(knowledge, rng.child(name, "fit"))
        errors, _ = scores(reconstruct, partition, images.picking, rng.child(name, "pick"))
        picked[name] = float(errors.mean())
        scored[name] = scores(reconstruct, partition, test, rng.child(name, "test"))
    best = min(picked, key=lambda name: picked[name])
    means = {name: float(errors.mean()) for name, (errors, _) in scored.items()}
    arrays = {
        name: values.double().numpy()
        for name, values in zip(("mse", "ssim"), scored[best], strict=True)
    }
    return {"best": best, "attacks": means}, arrays


def scores(
    reconstruct: Reconstructor, partition: Partition, images: LabelledImages, rng: Rng
) -> tuple[Tensor, Tensor]:
    """Error and likeness of each image; the label is unknown."""
    sent = partition.transmit(images.x, rng.child("sent"))
    seen = Observation(sent[:, None], partition.cut.layout, None)
    answer = reconstruct(seen, rng.child("answer")).clamp(0, 1)
    return mse_per_image(answer, images.x), ssim_per_image(answer, images.x)
