"""C3: error against the strength of the price, and against the noise."""

import numpy as np

from splitveil.quantities import Quantity
from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.bases import beside, compared
from splitveil.reproduce.cem.choosing import OURS, PLAIN
from splitveil.reproduce.cem.evidence import Seen, Setting, ln_ratio
from splitveil.reproduce.cem.networks import FASHION
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.draws import error_draws, quantity_of, rank_correlation
from splitveil.reproduce.experiment import ArmMissing, Evidence, Experiment, Scale
from splitveil.rng import Rng

REACHES, NOISES = (0.5, 1.0, 2.0), (0.1, 0.3, 1.0)


def at(form: str, *, reach: float = 1.0, noise: float = 0.3) -> Setting:
    """Noise alone, other strengths and noises."""
    return Setting(data=FASHION, base="noise", form=form, reach=reach, noise=noise)


LADDER = (at(PLAIN), *(at(OURS, reach=reach) for reach in REACHES))
NOISY = tuple(at(OURS, noise=noise) for noise in NOISES)
QUIET = tuple(at(PLAIN, noise=noise) for noise in NOISES)


def strength(scale: Scale) -> Experiment:
    """C3."""
    settings = dict.fromkeys((*LADDER, *QUIET, *NOISY))
    arms = tuple(arm for setting in settings for arm in setting.arms(scale))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        seen: dict[Setting, Seen] = {}
        missing = []
        for setting in settings:
            try:
                seen[setting] = Seen.of(evidence, setting, scale)
            except ArmMissing as error:
                missing.append(str(error))
        names = [one.measured for one in claims.STRENGTH.criteria]
        readings = [
            Reading(
                measured=name,
                subject="noise",
                quantity=_ranked([seen[one] for one in rising], name),
            )
            for name, rising in zip(names, (LADDER, NOISY), strict=True)
            if all(one in seen for one in rising)
        ]
        for quiet, noisy in zip(QUIET, NOISY, strict=True):
            if quiet in seen and noisy in seen:
                subject = f"noise {quiet.noise:g}"
                gain = ln_ratio(seen[noisy], seen[quiet], subject)
                readings.append(Reading(measured=claims.GAIN, subject=subject, quantity=gain))
                readings += beside({PLAIN: seen[quiet], OURS: seen[noisy]}, subject)
        for one in LADDER[1:]:
            if one in seen:
                readings += beside({OURS: seen[one]}, f"{one.reach:g} of the chosen fall")
        return (
            Finding(
                claim=claims.STRENGTH,
                quantities=tuple(readings),
                seeds=scale.seeds if any(one.measured in names for one in readings) else 0,
                note=f"{len(missing)} settings missing, {missing[0]}" if missing else "",
            ),
        )

    return Experiment(
        claims=(claims.STRENGTH,), arms=(*compared(FASHION, "noise", scale), *arms), judge=judge
    )


def _ranked(rising: list[Seen], name: str) -> Quantity:
    errors = np.stack([one.mse for one in rising])
    drawn = error_draws(errors, Rng(0, ("cem", name)))
    steps = np.tile(np.arange(len(rising), dtype=np.float64), (len(drawn), 1))
    return quantity_of(rank_correlation(drawn, steps), unit="", n=errors.shape[2])
