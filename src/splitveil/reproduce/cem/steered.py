"""C1h: the larger networks with a price that meets its target in the steps there are."""

from dataclasses import dataclass

from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.attacked import Attacked
from splitveil.reproduce.cem.bases import beside, gain, lost
from splitveil.reproduce.cem.choosing import (
    BASES,
    LOST,
    NOISE,
    OURS,
    PLAIN,
    SHARES,
    accuracy,
    number,
)
from splitveil.reproduce.cem.climb import climb
from splitveil.reproduce.cem.evidence import Seen
from splitveil.reproduce.cem.networks import FASHION, hardened, images_for, recorded
from splitveil.reproduce.cem.rates import rates
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Measured, Scale
from splitveil.rng import Rng

BASE, CHOSEN_ON, SEED = "bottleneck8", "vgg", 100


@dataclass(frozen=True, kw_only=True)
class ChosenShare(Arm):
    """The least share of the base's rate on the ladder that loses at most a point, on vgg.

    One seed of its own, choosing images, no attack; see `climb`.
    """

    data: str
    seed: int = SEED

    @property
    def minutes(self) -> float:
        return 3.0

    def run(self, bench: Bench) -> Measured:
        images = images_for(bench, self.data, CHOSEN_ON)
        bare = BASES[BASE].format(noise=NOISE)
        met: dict[float, float] = {}

        def reached(text: str) -> tuple[float, float]:
            found = hardened(bench, images, text, data=self.data, network=CHOSEN_ON, seed=self.seed)
            train, held = images.training.train, images.choosing
            rate = rates(found, train, held, classes=images.kind.classes)["rate"]
            return accuracy(found, held, Rng(self.seed, ("cem", "choosing"))), rate

        level, rate = reached(bare)

        def priced(share: float) -> float:
            kept, met[share] = reached(f"{bare}+cem(rate={share * rate:.3g})")
            return kept

        top = climb(SHARES, priced, level - LOST)
        return Measured(
            details={
                "share": top.rung,
                "kept": top.kept,
                "accuracy": level,
                "rate": rate,
                "tried": top.tried,
                "rates": sorted(met.items()),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Steered(Attacked):
    """The base with `cem` as it comes, to the chosen share of the rate that its own seed has."""

    data: str = FASHION
    base: str = BASE
    form: str = OURS

    def text(self, bench: Bench) -> str:
        """The components, with the target in them."""
        share = number(recorded(bench, ChosenShare(data=self.data)).details, "share")
        level = number(recorded(bench, self.bare).details, "rate")
        return f"{BASES[BASE].format(noise=NOISE)}+cem(rate={share * level:.3g})"

    @property
    def bare(self) -> Attacked:
        """The same seed without a price."""
        return Attacked(data=self.data, base=BASE, form=PLAIN, network=self.network, seed=self.seed)


def steered(scale: Scale) -> Experiment:
    """C1h."""
    priced = {
        name: tuple(Steered(network=name, seed=seed) for seed in range(scale.seeds))
        for name in claims.NETWORKS
    }
    bare = {name: tuple(arm.bare for arm in arms) for name, arms in priced.items()}

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings: list[Reading] = []
        for name in claims.NETWORKS:
            try:
                ours, plain = (Seen.of_arms(evidence, one[name]) for one in (priced, bare))
            except ArmMissing as error:
                return (Finding(claim=claims.STEERED, quantities=(), seeds=0, note=f"{error}"),)
            readings += [gain(ours, plain, name), lost(ours, plain, name)]
            readings += beside({OURS: ours, PLAIN: plain}, name)
        share = number(evidence.take(ChosenShare(data=FASHION)).details, "share")
        note = f"share {share:g} of the base's rate"
        return (
            Finding(claim=claims.STEERED, quantities=tuple(readings), seeds=scale.seeds, note=note),
        )

    arms = (
        *bare["vgg"],
        ChosenShare(data=FASHION),
        *priced["vgg"],
        *bare["resnet"],
        *priced["resnet"],
    )
    return Experiment(claims=(claims.STEERED,), arms=arms, judge=judge)
