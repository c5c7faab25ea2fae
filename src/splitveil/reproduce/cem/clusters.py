"""C10: clusters that follow against k-means, and the mixture's shape."""

from contextlib import suppress

from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.bases import FORMS, compared
from splitveil.reproduce.cem.choosing import OURS, PLAIN
from splitveil.reproduce.cem.evidence import Seen, Setting, ln_ratio, student
from splitveil.reproduce.cem.networks import FASHION
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import ArmMissing, Evidence, Experiment, Scale

COUNTS = (1, 2, 5, 10)
SHAPES = tuple((covariance, m) for covariance in ("isotropic", "diagonal") for m in COUNTS)


def followed(scale: Scale) -> Experiment:
    """C10a, on the networks of noise alone."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings = []
        for form in (PLAIN, *FORMS):
            seen = Seen.of(evidence, Setting(data=FASHION, base="noise", form=form), scale)
            readings.append(
                Reading(
                    measured=claims.FOLLOWED.criteria[0].measured,
                    subject=f"noise, {form}",
                    quantity=student(seen.each("rate followed") / seen.each("rate"), ""),
                )
            )
        return (Finding(claim=claims.FOLLOWED, quantities=tuple(readings), seeds=scale.seeds),)

    return Experiment(
        claims=(claims.FOLLOWED,), arms=compared(FASHION, "noise", scale), judge=judge
    )


def shape(scale: Scale) -> Experiment:
    """C10b, at the target chosen for five isotropic clusters."""
    settings = {one: _with(*one) for one in SHAPES}
    first = (("diagonal", 5), ("isotropic", 5))
    order = dict.fromkeys((*first, *SHAPES))
    arms = tuple(arm for one in order for arm in settings[one].arms(scale))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        seen = {one: Seen.of(evidence, settings[one], scale) for one in first}
        diagonal, isotropic = (seen[one] for one in first)
        for one in SHAPES:
            with suppress(ArmMissing):
                seen[one] = Seen.of(evidence, settings[one], scale)
        readings = [
            Reading(
                measured=claims.SHAPE.criteria[0].measured,
                subject="5 clusters",
                quantity=ln_ratio(isotropic, diagonal, "shape"),
            )
        ]
        for (covariance, m), found in seen.items():
            subject = f"{covariance}, {m}"
            for name, values in (
                ("MSE", found.mse.mean(1)),
                ("accuracy", found.each("accuracy")),
                ("rate", found.each("rate")),
            ):
                quantity = student(values, "")
                readings.append(Reading(measured=name, subject=subject, quantity=quantity))
        return (Finding(claim=claims.SHAPE, quantities=tuple(readings), seeds=scale.seeds),)

    return Experiment(
        claims=(claims.SHAPE,), arms=(*compared(FASHION, "noise", scale), *arms), judge=judge
    )


def _with(covariance: str, clusters: int) -> Setting:
    return Setting(data=FASHION, base="noise", form=OURS, clusters=clusters, covariance=covariance)
