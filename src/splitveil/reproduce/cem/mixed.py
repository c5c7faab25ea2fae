"""C1n: part of the noise that costs a point, with `cem`, against all of it alone."""

from dataclasses import dataclass

from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.attacked import Attacked
from splitveil.reproduce.cem.bases import beside, lost
from splitveil.reproduce.cem.choosing import (
    BASES,
    LOST,
    NOISE,
    OURS,
    SHARES,
    accuracy,
    number,
)
from splitveil.reproduce.cem.climb import climb
from splitveil.reproduce.cem.evidence import Seen, ln_ratio
from splitveil.reproduce.cem.networks import FASHION, hardened, images_for, recorded
from splitveil.reproduce.cem.rates import rates
from splitveil.reproduce.cem.simpler import ChosenRung, Simpler
from splitveil.reproduce.cem.steered import BASE, SEED
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Measured, Scale
from splitveil.rng import Rng

PART = 0.5


@dataclass(frozen=True, kw_only=True)
class ChosenMix(Arm):
    """The least share of the rate at noise 0.5 that loses at most a point to the base at 0.3.

    On the network itself, one seed of its own, choosing images, no attack; see `climb`.
    """

    network: str
    seed: int = SEED

    @property
    def minutes(self) -> float:
        return 1.5 if self.network == "vgg" else 5.0

    def run(self, bench: Bench) -> Measured:
        images = images_for(bench, FASHION, self.network)
        train, held = images.training.train, images.choosing

        def reached(text: str) -> tuple[float, float]:
            found = hardened(
                bench, images, text, data=FASHION, network=self.network, seed=self.seed
            )
            rate = rates(found, train, held, classes=images.kind.classes)["rate"]
            return accuracy(found, held, Rng(self.seed, ("cem", "choosing"))), rate

        level, _ = reached(BASES[BASE].format(noise=NOISE))
        without, rate = reached(BASES[BASE].format(noise=PART))
        top = climb(SHARES, lambda share: reached(_text(share * rate))[0], level - LOST)
        return Measured(
            details={
                "share": top.rung,
                "target": top.rung * rate,
                "accuracy": level,
                "accuracy without": without,
                "tried": top.tried,
            }
        )


def _text(target: float) -> str:
    return f"{BASES[BASE].format(noise=PART)}+cem(rate={target:.3g})"


@dataclass(frozen=True, kw_only=True)
class Mixed(Attacked):
    """The base at noise 0.5 with `cem` to the chosen target."""

    data: str = FASHION
    base: str = BASE
    form: str = OURS
    noise: float = PART

    def text(self, bench: Bench) -> str:
        """The components, with the target in them."""
        return _text(number(recorded(bench, ChosenMix(network=self.network)).details, "target"))


def mixed(scale: Scale) -> Experiment:
    """C1n."""
    seeds = range(scale.seeds)
    noisy = claims.MEANS[0]
    ours = {n: tuple(Mixed(network=n, seed=seed) for seed in seeds) for n in claims.NETWORKS}
    alone = {
        n: tuple(Simpler(network=n, means=noisy, seed=seed) for seed in seeds)
        for n in claims.NETWORKS
    }

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings: list[Reading] = []
        missing, shares = [], []
        for network in claims.NETWORKS:
            try:
                top, bottom = (Seen.of_arms(evidence, one[network]) for one in (ours, alone))
                chosen = evidence.take(ChosenMix(network=network)).details
            except ArmMissing as error:
                missing.append(f"{network}: {error}")
                continue
            shares.append(f"{network} {number(chosen, 'share'):g}")
            quantity = ln_ratio(top, bottom, network, "mixed")
            measured = claims.MIXED.criteria[0].measured
            readings.append(Reading(measured=measured, subject=network, quantity=quantity))
            readings.append(lost(top, bottom, network))
            readings += beside({OURS: top}, network)
        note = f"{len(missing)} missing, the first is {missing[0]}" if missing else ""
        return (
            Finding(
                claim=claims.MIXED,
                quantities=tuple(readings),
                seeds=scale.seeds if readings else 0,
                note=note or "shares of the rate at noise 0.5: " + ", ".join(shares),
            ),
        )

    arms: list[Arm] = []
    for network in claims.NETWORKS:
        arms += [ChosenRung(network=network, means=noisy), *alone[network]]
        arms += [ChosenMix(network=network), *ours[network]]
    return Experiment(claims=(claims.MIXED,), arms=tuple(arms), judge=judge)
