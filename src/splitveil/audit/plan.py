"""What an audit is asked to do, as plain settings that TOML can hold; no torch."""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from splitveil.audit.claim_names import MEASURES
from splitveil.audit.settings import from_mapping, from_toml, to_mapping
from splitveil.errors import BadPlan, UnknownName
from splitveil.records import digest

Tier = Literal["3m", "30m", "full"]


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which network is audited; no name means the bundled demonstration.

    `mean` and `std` are one number a channel, subtracted and divided inside the model; `output` is
    the key or index of the class scores where the model returns several; `classes` are the class
    names in the order of the scores; `utility` is `module:function` in place of top-1 accuracy.
    """

    name: str | None = None
    weights: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    output: str | None = None
    classes: tuple[str, ...] = ()
    utility: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images; no source means the bundled demonstration.

    `auxiliary` is a second source for the attacker's images, by default a part of the first;
    `size` and `channels` convert the images to what the model takes, by default the model's own;
    `fit` says how a size is reached, "bilinear" or "pad" with black; `pixel_range` are the stored
    values that mean black and white, where that is not 0 to 255 in bytes or 0 to 1 in floats;
    `limit` caps the images read.
    """

    source: str | None = None
    auxiliary: str | None = None
    size: int | None = None
    channels: int | None = None
    fit: Literal["bilinear", "pad"] | None = None
    pixel_range: tuple[float, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.fit not in (None, "bilinear", "pad"):
            raise BadPlan(f"data.fit must be bilinear or pad, got '{self.fit}'")
        if self.pixel_range and len(self.pixel_range) != 2:
            raise BadPlan(f"data.pixel_range takes black and white, got {self.pixel_range}")
        for name in ("size", "channels", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadPlan(f"data.{name} must be positive, got {value}")


@dataclass(frozen=True, kw_only=True)
class ThreatSettings:
    """What the attacker knows besides its auxiliary images and the cloud's half.

    By default everything but the private images: the device's half (white-box), the true label of
    each observation and the release. `queries` caps what a black-box attacker may ask.
    """

    knows_label: bool = True
    knows_defence: bool = True
    queries: int | None = None

    def __post_init__(self) -> None:
        if self.queries is not None and self.queries < 0:
            raise BadPlan(f"threat.queries must not be negative, got {self.queries}")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much is tried, and until when.

    `seconds` is the wall clock after which no trial is begun that would not end in time;
    `ridge_cuts` and `decoder_cuts` are how many depth-spaced cuts the dear attacks are run at;
    `gallery_cuts`, `search_cuts`, `family_cuts` and `wide_cuts` the same for those of `audit.menu`;
    `noise_cuts` how many get the noise arm; `seeds` how often a random attack is repeated; `epochs`
    and `restarts` how long decoders train and from how many starts is searched; `measures` what is
    computed beside the bounds, as in `AuditPlan`.
    """

    seconds: float
    ridge_cuts: int
    decoder_cuts: int
    noise_cuts: int
    seeds: int
    epochs: int
    restarts: int = 1
    gallery_cuts: int = 0
    search_cuts: int = 0
    family_cuts: int = 0
    wide_cuts: int = 0
    measures: tuple[str, ...] = ()


EVERYWHERE = 1_000_000

BUDGETS: dict[Tier, Budget] = {
    "3m": Budget(
        seconds=158.0,
        ridge_cuts=12,
        decoder_cuts=5,
        noise_cuts=2,
        seeds=1,
        epochs=4,
    ),
    "30m": Budget(
        seconds=1650.0,
        ridge_cuts=EVERYWHERE,
        decoder_cuts=15,
        noise_cuts=3,
        seeds=2,
        epochs=12,
        gallery_cuts=EVERYWHERE,
        search_cuts=3,
        family_cuts=3,
        measures=("proxies",),
    ),
    "full": Budget(
        seconds=float("inf"),
        ridge_cuts=EVERYWHERE,
        decoder_cuts=EVERYWHERE,
        noise_cuts=EVERYWHERE,
        seeds=3,
        epochs=30,
        restarts=4,
        gallery_cuts=EVERYWHERE,
        search_cuts=3,
        family_cuts=7,
        wide_cuts=3,
        measures=("proxies", "twin"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """Everything needed to repeat an audit; its TOML form is stored in the run's folder.

    `cuts` are names or ids (none: the whole menu); `attacks` are recipes such as
    "Ridge(penalty=1e-3)" or "package.module:Name()" to run at every cut in place of the budget's
    choice; `releases` are recipes such as "gaussian(sigma=0.5)" for the noise arm (none: the
    budget's choice, "none" alone: no arm). `always_release` is one that the device never sends
    without: plain features are then no channel, every attack meets this release at every cut, and
    there is a noise arm beside it only where `releases` names one. `jobs` counts worker processes:
    0 runs all in this process, None takes one a core. `measures` asks for more than bounds:
    "proxies", which rank and prove nothing, with their calibration; "twin", least errors for a
    declared source of images. `pairs` are two files, of the attacker's pairs (z, x) and of private
    ones, in place of a model and data.

    Raises:
        BadPlan: if a setting makes no sense.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    threat: ThreatSettings = field(default_factory=ThreatSettings)
    cuts: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    always_release: str | None = None
    measures: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    budget: Tier = "3m"
    seed: int = 0
    jobs: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.budget not in BUDGETS:
            raise BadPlan(f"budget must be one of {', '.join(BUDGETS)}; got '{self.budget}'")
        if self.jobs is not None and self.jobs < 0:
            raise BadPlan(f"jobs must not be negative, got {self.jobs}")
        if self.pairs and len(self.pairs) != 2:
            raise BadPlan(
                f"pairs are two files, the attacker's and the private one, got {len(self.pairs)}"
            )
        for name in self.measures:
            if name not in MEASURES:
                raise UnknownName("measure", name, MEASURES)
        if not 0 <= self.seed < 2**63:
            raise BadPlan(f"seed must lie in [0, 2**63), got {self.seed}")

    def check_pairs(self) -> None:
        """Refuse what an audit of pairs has no use for.

        Raises:
            BadPlan: naming it.
        """
        pixel_range = self.data.pixel_range
        for name, given in (
            ("model", self.model != ModelSettings()),
            ("data", self.data != DataSettings(pixel_range=pixel_range)),
            ("cuts", self.cuts),
            ("releases", self.releases),
            ("always_release", self.always_release),
            ("measures", self.measures),
            ("threat.queries", self.threat.queries is not None),
        ):
            if given:
                raise BadPlan(
                    f"pairs leave no room for {name}: what was sent is all that is known; of the "
                    "data settings only pixel_range applies"
                )

    @property
    def named_releases(self) -> tuple[str, ...]:
        """Every release the plan names, as it was written."""
        return (*filter(None, (self.always_release,)), *self.releases)

    @property
    def limits(self) -> Budget:
        """What the budget allows."""
        return BUDGETS[self.budget]

    @property
    def workers(self) -> int:
        """Worker processes, 0 meaning this process."""
        return default_jobs() if self.jobs is None else self.jobs

    @property
    def is_demo(self) -> bool:
        """Whether the bundled images stand in for private ones."""
        return not self.pairs and self.data.source in (None, "demo")


def default_jobs() -> int:
    """The cores this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def default_folder(plan: AuditPlan) -> Path:
    """A folder named by what is audited: the same settings find their records again.

    Sources in folders of equal names get different ones: a digest of the whole path is in the name.
    Cuts, attacks, releases and the budget are left out of the name, so that a larger budget adds
    to the run of a smaller one.
    """
    if plan.pairs:
        files = [str(Path(name).expanduser().resolve()) for name in plan.pairs]
        given = digest([files, plan.seed, to_mapping(plan.threat), list(plan.data.pixel_range)])
        stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(files[1]).stem).strip("-")
        return Path("splitveil-audit") / f"pairs-{stem}-{given[:6]}"
    names = (plan.model.name or "vgg", plan.data.source or "demo")
    stems = (Path(name).stem if "/" in name else name for name in names)
    stem = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") for text in stems)
    shared = AuditPlan(
        model=replace(plan.model, name=_tidy(plan.model.name)),
        data=replace(plan.data, source=_tidy(plan.data.source)),
        threat=plan.threat,
        always_release=plan.always_release,
        seed=plan.seed,
    )
    # a name without a folder says all; of a path only the last part is in the stem
    plain = AuditPlan(
        model=ModelSettings(name=_without_folder(shared.model.name)),
        data=DataSettings(source=_without_folder(shared.data.source)),
    )
    tail = "" if shared == plain else f"-{digest(to_mapping(shared))[:6]}"
    return Path("splitveil-audit") / f"{stem}{tail}"


def _tidy(name: str | None) -> str | None:
    """A path in one written form: `./photos/` is `photos`."""
    return Path(name).as_posix() if name and "/" in name else name


def _without_folder(name: str | None) -> str | None:
    return None if name is None or "/" in name else name


def load_plan(source: Any) -> AuditPlan:
    """A plan from the path of a TOML file or from a mapping of its tables.

    Raises:
        BadPlan: if a value is wrong.
        UnknownName: if a key does not exist.
    """
    if isinstance(source, (str, Path)):
        return from_toml(AuditPlan, Path(source))
    return from_mapping(AuditPlan, source)
