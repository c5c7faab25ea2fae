"""What is claimed of malicious networks, written down before the runs; no torch."""

from splitveil.reproduce.claims import Claim, Criterion

SETS = ("digits", "mnist", "fashion-mnist", "emoji", "faces")
"""Digits have 64 values, padded; the others 16 x 16 pixels."""

ATTRIBUTE_COUNTS = (1, 2, 3, 5, 8, 12, 16, 20)
CLASS_COUNTS = (2, 4, 8, 16, 32)
FAMILIES = {"attributes": ATTRIBUTE_COUNTS, "identities": CLASS_COUNTS}
WEIGHTS = (0, 1 / 3, 1, 3, 10)
SWEPT = ("fashion-mnist", "faces")
SIMPLER = (("mnist", "fashion-mnist"), ("digits", "fashion-mnist"), ("faces", "emoji"))

_SOURCE = "effect: Malekzadeh and Gündüz 2022; threshold ours"

KEPT = Claim(
    id="vicious.A1",
    statement="a vicious classifier keeps 97 % of the honest one's accuracy",
    criteria=(Criterion(measured="accuracy, vicious over honest", low=0.97, subjects=SETS),),
    source=_SOURCE,
    expected="holds, but for emoji",
)
WORSE = Claim(
    id="vicious.A2",
    statement="training both together gives away far more than a decoder fitted afterwards",
    criteria=(
        Criterion(measured="MSE, post hoc over vicious", low=1.3, subjects=SETS),
        Criterion(measured="risk, vicious over post hoc", low=1, subjects=SETS),
        Criterion(measured="risk, post hoc", low=0.98, subjects=SETS),
    ),
    source=_SOURCE,
    expected="holds",
)
ORDER = Claim(
    id="vicious.A3",
    statement="vicious lies between the autoencoder of the same code and the post-hoc decoder",
    criteria=(
        Criterion(measured="MSE, vicious over autoencoder", low=1, subjects=SETS),
        Criterion(measured="MSE, post hoc over vicious, order", low=1, subjects=SETS),
        Criterion(measured="leak efficiency", low=0, high=1, subjects=SETS),
    ),
    source=_SOURCE,
    expected="holds, but for sets where the autoencoder is no better",
)
MORE = Claim(
    id="vicious.A4",
    statement="the more outputs, the more of the image they give away",
    criteria=(
        Criterion(measured="MSE, fewest over most outputs", low=1.5, subjects=tuple(FAMILIES)),
        Criterion(measured="slope of ln MSE, a doubling", high=0, subjects=tuple(FAMILIES)),
        Criterion(
            measured="rank correlation of outputs and risk", low=0.9, subjects=tuple(FAMILIES)
        ),
    ),
    source=_SOURCE,
    expected="holds",
)
RAW = Claim(
    id="vicious.A5",
    statement="probabilities give away no more than logits",
    criteria=(Criterion(measured="MSE, softmax over logits", low=1, subjects=SETS),),
    source=_SOURCE,
    expected="holds",
)
SIMPLE = Claim(
    id="vicious.A6",
    statement="simple images are given away more than textured ones",
    criteria=(
        Criterion(
            measured="risk, simple over textured",
            low=1,
            subjects=tuple(f"{simple} over {textured}" for simple, textured in SIMPLER),
        ),
    ),
    source=_SOURCE,
)
TRADED = Claim(
    id="vicious.A8",
    statement="the weight trades accuracy for leakage, step by step",
    criteria=(
        Criterion(measured="rank correlation of weight and risk", low=0.9, subjects=SWEPT),
        Criterion(measured="rank correlation of weight and accuracy", high=-0.9, subjects=SWEPT),
    ),
    source=_SOURCE,
    expected="risk holds; accuracy undecided with three seeds",
)

CLAIMS = (KEPT, WORSE, ORDER, MORE, RAW, SIMPLE, TRADED)
