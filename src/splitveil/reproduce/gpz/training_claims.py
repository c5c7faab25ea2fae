"""Golden Partition Zone, arXiv 2506.15412: what it claims of networks in training; no torch.

Thresholds are ours and were committed before any run; docs/hypotheses-gpz-training.md says the
same in words.
"""

from splitveil.reproduce.claims import Claim, Criterion

NETWORKS = ("vgg", "resnet", "ir", "vit")
COLUMNS = ("no skips", "skips")
DATA = ("fashion-mnist", "mnist", "emoji", "faces")
_LATE = ("the last cut", "the logits")
_EARLY = ("the first cut", "the second cut")
_VORTEX = "neural vortex of the paper; thresholds ours"


def over_one_hot(measure: str, labels: str, place: str) -> str:
    """The name of a ratio of a measure to that of one-hot training."""
    return f"{measure} of {labels} over one-hot at {place}"


def _late(measure: str) -> tuple[Criterion, ...]:
    falls = [
        Criterion(measured=over_one_hot(measure, "LS+", place), high=0.7, subjects=NETWORKS)
        for place in _LATE
    ]
    return tuple(falls)


def _grows(measure: str) -> tuple[Criterion, ...]:
    return tuple(
        Criterion(measured=over_one_hot(measure, "LS-", place), low=1, subjects=NETWORKS)
        for place in _LATE
    )


def _early(measure: str) -> tuple[Criterion, ...]:
    return tuple(
        Criterion(
            measured=over_one_hot(measure, labels, place), low=0.7, high=1.4, subjects=NETWORKS
        )
        for labels in ("LS+", "LS-")
        for place in _EARLY
    )


CONTRACTS = Claim(
    id="gpz.C7a",
    statement="Positive label smoothing contracts classes at the last cuts: R_c^2 falls.",
    criteria=_late("R_c^2"),
    source=_VORTEX,
)
EXPANDS = Claim(
    id="gpz.C7c",
    statement="Negative label smoothing expands classes at the last cuts: R_c^2 grows.",
    criteria=_grows("R_c^2"),
    source=_VORTEX,
)
SHALLOW = Claim(
    id="gpz.C7s",
    statement="Label smoothing leaves R_c^2 at shallow cuts as it is.",
    criteria=_early("R_c^2"),
    source=_VORTEX,
)
SCALE_FREE = Claim(
    id="gpz.C7b",
    statement="The same three hold for nc1, which no change of scale moves.",
    criteria=(*_late("nc1"), *_grows("nc1"), *_early("nc1")),
    source="ours: how much of the vortex is a change of scale",
    expected="fails in part: in a pilot most of the fall of R_c^2 was a fall of the norm",
)
UTILITY = Claim(
    id="gpz.C8",
    statement="Positive label smoothing costs at most half a point of accuracy.",
    criteria=(
        Criterion(measured="accuracy of LS+ less one-hot, points", low=-0.5, subjects=NETWORKS),
    ),
    source="slightly better accuracy in the paper; margin ours",
)
PRIVACY = Claim(
    id="gpz.C9",
    statement="Positive label smoothing makes the last cut harder to invert.",
    criteria=(
        Criterion(
            measured="ridge MSE of LS+ over one-hot at the last cut", low=1, subjects=NETWORKS
        ),
    ),
    source="the paper's remedy; threshold ours",
    expected="a small effect: 1.03 to 1.04 in a pilot",
)
DECODED = Claim(
    id="gpz.C9d",
    statement="The same for a trained decoder.",
    criteria=(
        Criterion(
            measured="decoder MSE of LS+ over one-hot at the last cut", low=1, subjects=("vgg",)
        ),
    ),
    source="the paper's remedy; threshold ours",
)
CHANCE = Claim(
    id="gpz.C13a",
    statement="Under permuted labels S_B/S_T is what chance makes it, at every watched cut.",
    criteria=(
        Criterion(
            measured="S_B/S_T over (K-1)/(N-1), permuted probe",
            low=0.9,
            high=1.1,
            subjects=NETWORKS,
        ),
    ),
    source="control of the specification; tolerance ours",
)
NO_ZONE = Claim(
    id="gpz.C13b",
    statement="Under permuted labels the robust rule finds no zone.",
    criteria=(
        Criterion(measured="zones found under permuted labels", high=0, subjects=("vgg", "resnet")),
    ),
    source="control of the specification",
)
UNLEARNT = Claim(
    id="gpz.C13c",
    statement="The same chance level holds for networks trained on permuted labels.",
    criteria=(
        Criterion(
            measured="S_B/S_T over (K-1)/(N-1), trained on permuted labels",
            low=0.8,
            high=1.25,
            subjects=COLUMNS,
        ),
    ),
    source="control of the specification; tolerance ours",
)
ZONE_AT_JUMP = Claim(
    id="gpz.C15a",
    statement="On every kind of data the zone starts where the attack's error jumps.",
    criteria=(
        Criterion(
            measured="share of seeds with the zone within one cut of the jump",
            low=2 / 3,
            subjects=DATA,
        ),
    ),
    source="ours: zone and jump on other data",
)
SHIFTED = Claim(
    id="gpz.C15b",
    statement="An attacker with images of another kind meets the jump at the same place.",
    criteria=(
        Criterion(
            measured="share of seeds with the shifted attacker's jump within one cut",
            low=2 / 3,
            subjects=DATA,
        ),
    ),
    source="ours: decoders trained on a shifted set",
)
TRUE_LABELS = Claim(
    id="gpz.C15c",
    statement="At fixed depth, width and dimension the error rises more when the labels are true.",
    criteria=(
        Criterion(
            measured="rise with true labels less rise with permuted ones", low=0, subjects=COLUMNS
        ),
    ),
    source="ours: is it the transition, or depth and dimension",
)
SKIPS = Claim(
    id="gpz.C15d",
    statement="Without skips both the error rises more and nc1 falls more.",
    criteria=(
        Criterion(measured="rise without skips less rise with skips", low=0),
        Criterion(measured="fall of ln nc1 without skips less that with skips", low=0),
    ),
    source="residual links slow the decay of I(X;Z); in numbers ours",
)
CLASS_COUNT = Claim(
    id="gpz.C15e",
    statement="Of ten and two classes, those that contract more also rise more.",
    criteria=(
        Criterion(
            measured="share of seeds in which rise and fall differ alike", low=1, subjects=COLUMNS
        ),
    ),
    source="ours: does the jump follow the transition",
)
STEPS = Claim(
    id="gpz.C15f",
    statement="At fixed dimension, steps at which nc1 falls are steps at which the error rises.",
    criteria=(Criterion(measured="rank correlation of rise and fall over steps", low=0.3),),
    source="ours: does the jump follow the transition",
)
NOT_DEPTH = Claim(
    id="gpz.C15g",
    statement="The fall of nc1 ranks steps by their rise better than depth does.",
    criteria=(Criterion(measured="that correlation less the one with depth", low=0),),
    source="ours: does the jump follow the transition",
)
CLASS_TOKEN = Claim(
    id="gpz.C15h",
    statement="At equal dimension the class token is harder to invert than all tokens.",
    criteria=(
        Criterion(
            measured="MSE(class token) / MSE(all tokens), both of 80 values",
            low=1.25,
            subjects=("vit",),
        ),
    ),
    source="ours: is it the transition, or dimension",
)
PADDING = Claim(
    id="gpz.C15i",
    statement="Dimension alone changes nothing: zeros appended to z leave the error as it is.",
    criteria=(
        Criterion(
            measured="MSE(z padded to 4,096 values) / MSE(z)",
            low=0.99,
            high=1.01,
            subjects=("pool1", "pool2", "pool3", "pool4", "pool5"),
        ),
    ),
    source="ours: z padded to equal dimension",
)
EQUAL_SIZE = Claim(
    id="gpz.C15j",
    statement="At least half of the rise along the pools stays when every z has 128 values.",
    criteria=(Criterion(measured="rise at 128 values over the rise without projection", low=0.5),),
    source="ours: is it the transition, or dimension",
)

VORTEX = (CONTRACTS, EXPANDS, SHALLOW, SCALE_FREE, UTILITY, PRIVACY, DECODED, CHANCE)
ELSEWHERE = (ZONE_AT_JUMP, SHIFTED, PADDING, EQUAL_SIZE)
COLUMN = (UNLEARNT, TRUE_LABELS, SKIPS, CLASS_COUNT, STEPS, NOT_DEPTH)
CLAIMS = (*VORTEX, NO_ZONE, *ELSEWHERE, *COLUMN, CLASS_TOKEN)
