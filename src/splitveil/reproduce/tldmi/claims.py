"""What is claimed of TL-DMI and of attacks on training data, before the runs; no torch."""

from splitveil.reproduce.claims import Claim, Criterion

NONE, CHOSEN = "onehot", "freeze(6)"
LADDER = ("freeze(2)", "freeze(4)", CHOSEN, "freeze(8)")
"""Of the network's nine layers with weights; eight are convolutions."""
LAST = "freeze(conv7,only)+freeze(norm7,only)+freeze(conv8,only)+freeze(norm8,only)"
"""All but the last two convolutions and the new last layer: as many parameters trained as by
`CHOSEN`, within a tenth."""

UPDATED = "freeze(6,statistics=updated)"
EARLY = "early stop"
MID = ("vib(0.01)", "vib(0.1)")
BIDO = ("hsic(0.05,0.5)", "hsic(0.5,0.5)")
POSITIVE = "smooth(0.1)"
NEGATIVE = "ramp(smooth(-0.05),0.5,0.75,reach=0.5)"
SUDDEN = "smooth(-0.05)"
WHITE = ("GMI", "KEDMI", "LOMMA+KEDMI", "PLG-MI")
LABEL = "BREP-MI"
ATTACKS = (*WHITE, LABEL)
CHEAP = "LOMMA+GMI"
"""GMI's search with the logit loss: one prior for all defences, so what it costs is the search."""

KNOWING = "LOMMA+GMI knowing the start"
"""The same by who has the network before fine-tuning."""

COMPOSED = f"{CHOSEN}+{BIDO[0]}"
GENERIC = (NONE, *LADDER, LAST, POSITIVE, NEGATIVE)
"""What small robust accuracy is set against leakage over."""

RADII = (0.002, 0.01, 0.03)
MIDDLE = 2
"""The place of 0.01 in "standing", after no change and 0.002."""

_OURS = "effect: Ho et al. 2024 (TL-DMI); threshold ours"


def _claim(number: int, statement: str, *criteria: Criterion, expected: str = "") -> Claim:
    return Claim(
        id=f"tldmi.C{number}",
        statement=statement,
        criteria=criteria,
        source=_OURS,
        expected=expected,
    )


MAIN = _claim(
    1,
    "freezing six of nine layers takes a quarter off what three attacks add, at 5 points at most",
    Criterion(measured="attacks with ratio 0.75 or less", low=3),
    Criterion(measured="accuracy lost", high=0.05),
)
EFFICIENT = _claim(
    2,
    "it takes off relatively more leakage than accuracy, and more than MID and BiDO do",
    Criterion(measured="relative cut of leakage over that of accuracy", low=3),
    Criterion(measured="net accuracy less MID's at its accuracy", high=0),
    Criterion(measured="net accuracy less BiDO's at its accuracy", high=0),
    expected="undecided with one seed",
)
MONOTONE = _claim(
    3,
    "the more layers are frozen, the less an attack adds",
    Criterion(measured="rank correlation of frozen layers and net accuracy", high=-0.8),
)
MATCHED = _claim(
    4,
    "a network stopped early at the same accuracy still leaks more",
    Criterion(measured="net accuracy, stopped early less frozen", low=0),
)
PLACED = _claim(
    5,
    "freezing the first layers beats freezing the last",
    Criterion(measured="net accuracy, first over last frozen", high=0.85),
    Criterion(measured="accuracy, first less last frozen", low=-0.02),
)
IMPORTANT = _claim(
    6,
    "inversion weighs on earlier layers than the task does",
    Criterion(measured="centroid of inversion over task", high=0.8),
    Criterion(measured="centroid of inversion over task, invariant", high=1),
    expected="F_l holds, the invariant score undecided",
)
FARTHER = _claim(
    7,
    "what is rebuilt lies farther from its class",
    Criterion(measured="nearest distance, frozen over none", low=1.05),
    Criterion(measured="identity distance, frozen over none", low=1.05),
)
ORDERED = _claim(
    8,
    "attacks rank as published on the undefended network",
    Criterion(measured="accuracy, GMI less best public image", low=0),
    Criterion(measured="accuracy, KEDMI less GMI", low=0),
    Criterion(measured="accuracy, LOMMA+KEDMI less KEDMI", low=0.05),
    Criterion(measured="accuracy, PLG-MI less KEDMI", low=0),
    Criterion(measured="accuracy, BREP-MI less best public image", low=0),
    expected="GMI and KEDMI change places or are undecided at this size",
)
SIGNED = _claim(
    9,
    "smoothing with a positive sign does not protect, with a negative one it does",
    Criterion(measured="net accuracy, smooth(0.1) over none", low=1),
    Criterion(measured="net accuracy, negative over none", high=0.7),
    Criterion(measured="accuracy lost without a schedule", low=0.05),
)
ADAPTIVE = _claim(
    10,
    "no gradient is masked, and the best attack still adds 15 % less",
    Criterion(measured="label-only over best white-box, frozen over none", high=2),
    Criterion(measured="net accuracy of the best attack, frozen over none", high=0.85),
)
COMPOSING = _claim(
    11,
    "freezing and BiDO together leak no more than the better of them",
    Criterion(measured="net accuracy, both together less the lower of the two", high=0.05),
    expected="undecided with one seed",
)
STATISTICS = _claim(
    12,
    "letting BatchNorm statistics of frozen layers move changes little",
    Criterion(measured="net accuracy, statistics updated less kept", low=-0.1, high=0.1),
)

FRAGILE = _claim(
    13,
    "what leaks less is more fragile",
    Criterion(measured="accuracy under 0.01 a pixel, frozen over none", high=1),
    Criterion(measured="R² of net accuracy on that accuracy, eight defences", low=0.6),
    expected="undecided",
)
KNOWN = _claim(
    14,
    "also an attacker who knows the pre-trained weights adds 15 % less",
    Criterion(measured="net accuracy knowing the start, frozen over none", high=0.85),
    Criterion(measured="net accuracy, better of knowing and not, frozen over none", high=0.85),
)

PEOPLE = _claim(
    15,
    "on cartoon people, too, freezing six of nine layers takes a quarter off, at 5 points at most",
    Criterion(measured="net accuracy, frozen over none", high=0.75),
    Criterion(measured="accuracy lost", high=0.05),
    expected="undecided: three seeds left C14's ratio on characters undecided",
)
PEOPLE_RIVALS = _claim(
    16,
    "on people smoothing and the place of frozen layers act as the papers say",
    Criterion(measured="net accuracy, smooth(0.1) over none", low=1),
    Criterion(measured="net accuracy, negative over none", high=0.7),
    Criterion(measured="net accuracy, first over last frozen", high=0.85),
    expected="does not hold, as on characters",
)

CLAIMS = (
    MAIN,
    EFFICIENT,
    MONOTONE,
    MATCHED,
    PLACED,
    IMPORTANT,
    FARTHER,
    ORDERED,
    SIGNED,
    ADAPTIVE,
    COMPOSING,
    STATISTICS,
    FRAGILE,
    KNOWN,
    PEOPLE,
    PEOPLE_RIVALS,
)
