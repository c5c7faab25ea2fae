"""C1m: what more noise, or fewer channels, buy for the accuracy that `cem` costs."""

from dataclasses import dataclass

from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.attacked import Attacked
from splitveil.reproduce.cem.bases import beside
from splitveil.reproduce.cem.choosing import (
    BASES,
    LOST,
    NOISE,
    OURS,
    PLAIN,
    accuracy,
    number,
)
from splitveil.reproduce.cem.climb import climb
from splitveil.reproduce.cem.evidence import Seen, ln_ratio, student
from splitveil.reproduce.cem.networks import FASHION, hardened, images_for, recorded
from splitveil.reproduce.cem.steered import BASE, SEED, ChosenShare, Steered
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Measured, Scale
from splitveil.rng import Rng

NOISES = (0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
CHANNELS = (7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)
LADDERS: dict[str, tuple[float, ...]] = dict(zip(claims.MEANS, (NOISES, CHANNELS), strict=True))


def simpler_text(means: str, rung: float) -> str:
    """The base with one of its two numbers changed."""
    if means == claims.MEANS[0]:
        return BASES[BASE].format(noise=rung)
    return f"noise({NOISE:g})+bottleneck({rung:g})"


@dataclass(frozen=True, kw_only=True)
class ChosenRung(Arm):
    """The most noise, or the fewest channels, that lose at most a point; see `climb`.

    On the network itself, one seed of its own, choosing images, no attack.
    """

    network: str
    means: str
    seed: int = SEED

    @property
    def minutes(self) -> float:
        return 1.5 if self.network == "vgg" else 5.0

    def run(self, bench: Bench) -> Measured:
        images = images_for(bench, FASHION, self.network)

        def reached(text: str) -> float:
            found = hardened(
                bench, images, text, data=FASHION, network=self.network, seed=self.seed
            )
            return accuracy(found, images.choosing, Rng(self.seed, ("cem", "choosing")))

        level = reached(BASES[BASE].format(noise=NOISE))
        top = climb(
            LADDERS[self.means],
            lambda rung: reached(simpler_text(self.means, rung)),
            level - LOST,
        )
        return Measured(
            details={"rung": top.rung, "accuracy": level, "tried": top.tried},
        )


@dataclass(frozen=True, kw_only=True)
class Simpler(Attacked):
    """The base with the chosen noise, or so many channels, and no price."""

    means: str
    data: str = FASHION
    base: str = BASE
    form: str = PLAIN

    def text(self, bench: Bench) -> str:
        """The components, with the chosen number in them."""
        chosen = recorded(bench, ChosenRung(network=self.network, means=self.means))
        return simpler_text(self.means, number(chosen.details, "rung"))


def simpler(scale: Scale) -> Experiment:
    """C1m."""
    seeds = range(scale.seeds)
    ours = {n: tuple(Steered(network=n, seed=seed) for seed in seeds) for n in claims.NETWORKS}
    rivals = {
        (network, means): tuple(Simpler(network=network, means=means, seed=seed) for seed in seeds)
        for network in claims.NETWORKS
        for means in claims.MEANS
    }

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings: list[Reading] = []
        missing, rungs = [], []
        for (network, means), arms in rivals.items():
            place = f"{network}, {means}"
            try:
                top, bottom = (Seen.of_arms(evidence, one) for one in (ours[network], arms))
                chosen = evidence.take(ChosenRung(network=network, means=means)).details
            except ArmMissing as error:
                missing.append(f"{place}: {error}")
                continue
            rungs.append(f"{place} {number(chosen, 'rung'):g}")
            readings.append(
                Reading(
                    measured=claims.SIMPLER.criteria[0].measured,
                    subject=place,
                    quantity=ln_ratio(top, bottom, place, OURS),
                )
            )
            readings.append(
                Reading(
                    measured="accuracy less the simpler means'",
                    subject=place,
                    quantity=student(top.each("accuracy") - bottom.each("accuracy"), "share"),
                )
            )
            readings += beside({means: bottom}, network)
        note = f"{len(missing)} missing, the first is {missing[0]}" if missing else ", ".join(rungs)
        return (
            Finding(
                claim=claims.SIMPLER,
                quantities=tuple(readings),
                seeds=scale.seeds if readings else 0,
                note=note,
            ),
        )

    arms: list[Arm] = []
    for (network, means), own in rivals.items():
        bare = (arm.bare for arm in ours[network])
        arms += [*bare, ChosenShare(data=FASHION), *ours[network]]
        arms += [ChosenRung(network=network, means=means), *own]
    return Experiment(claims=(claims.SIMPLER,), arms=tuple(dict.fromkeys(arms)), judge=judge)
