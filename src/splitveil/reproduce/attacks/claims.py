"""The claims on attack strength of docs/hypotheses-attacks.md, as numbers with ranges."""

from splitveil.reproduce.claims import Claim, Criterion

_OURS = "ours, set before the run"

PLACES = {
    "vgg": ("pool1", "pool3", "pool5"),
    "resnet": ("stage1.block2", "stage2.block3", "stage3.block3"),
    "ir": ("stage1.unit2", "stage2.unit2", "stage4.unit2"),
    "vit": ("blocks.0", "blocks.2", "blocks.4"),
}
"""Of each network an early, a middle and a late cut."""

EARLY, MIDDLE, LATE = (
    tuple(f"{network} {cuts[place]}" for network, cuts in PLACES.items()) for place in range(3)
)
EVERY = tuple(f"{network} {cut}" for network, cuts in PLACES.items() for cut in cuts)

SEARCH_EARLY = Claim(
    id="attacks.A1",
    statement="at early cuts a white-box search leaves at most half the error of regression",
    criteria=(
        Criterion(measured="MSE of the longest search over regression", high=0.5, subjects=EARLY),
    ),
    source=_OURS,
    expected="holds",
)
REGRESSION_LATE = Claim(
    id="attacks.A2",
    statement="at late cuts no search beats regression in squared error",
    criteria=(
        Criterion(measured="MSE of the longest search over regression", low=1, subjects=LATE),
    ),
    source=_OURS,
    expected="holds",
)
TRAINING = Claim(
    id="attacks.A3",
    statement="sixteen epochs instead of one take a twentieth or more off the decoder's error",
    criteria=(Criterion(measured="MSE of 16 epochs over 1 epoch", high=0.95, subjects=EVERY),),
    source=_OURS,
    expected="fails at some cuts: it starts from the better ridge",
)
STEPS = Claim(
    id="attacks.A4",
    statement="at early and middle cuts 96 steps instead of 8 take a fifth or more off the error",
    criteria=(
        Criterion(measured="MSE of 96 steps over 8 steps", high=0.8, subjects=EARLY + MIDDLE),
    ),
    source=_OURS,
    expected="holds",
)
CHEAP = Claim(
    id="attacks.A5",
    statement="the better ridge is within a quarter of the longest training, at half its cost",
    criteria=(
        Criterion(measured="MSE of the ridge over 16 epochs", high=1.25, subjects=EVERY),
        Criterion(measured="CPU time of the ridge over 16 epochs", high=0.5, subjects=EVERY),
    ),
    source=_OURS,
    expected="fails at early cuts",
)
FORESEEN = Claim(
    id="attacks.A6",
    statement="a power law through 32 to 512 images foresees the error with 2,048",
    criteria=(
        Criterion(measured="MSE over foreseen, ridge", low=0.9, high=1.1, subjects=MIDDLE),
        Criterion(measured="MSE over foreseen, decoder", low=0.9, high=1.1, subjects=MIDDLE),
    ),
    source=_OURS,
)
BELOW = Claim(
    id="attacks.A7",
    statement="its limit lies below the error with 2,048 images: the warning is not too mild",
    criteria=(
        Criterion(measured="limit over MSE, ridge", high=1, subjects=MIDDLE),
        Criterion(measured="limit over MSE, decoder", high=1, subjects=MIDDLE),
    ),
    source=_OURS,
    expected="holds",
)
MORE = Claim(
    id="attacks.S1",
    statement="from 32 to 4,096 images of the same set the decoder's error falls to half",
    criteria=(Criterion(measured="MSE of 4,096 images over 32", high=0.5),),
    source=_OURS,
)
CAMERA = Claim(
    id="attacks.S2",
    statement="with 4,096 images another camera costs the decoder at most half again",
    criteria=(Criterion(measured="MSE of another camera over the same set", high=1.5),),
    source=_OURS,
    expected="fails: it did with one seed",
)
OTHER = Claim(
    id="attacks.S3",
    statement="with 4,096 images another set costs more, yet beats the mean image",
    criteria=(
        Criterion(measured="MSE of another set over the same set", low=1.5),
        Criterion(measured="MSE of another set over the mean image", high=1),
    ),
    source=_OURS,
)
HUNGRY = Claim(
    id="attacks.S4",
    statement="the decoder on 4,096 images of the same set is not saturated",
    criteria=(Criterion(measured="limit over MSE, same set", high=0.9),),
    source=_OURS,
)

CLAIMS = (
    SEARCH_EARLY,
    REGRESSION_LATE,
    TRAINING,
    STEPS,
    CHEAP,
    FORESEEN,
    BELOW,
    MORE,
    CAMERA,
    OTHER,
    HUNGRY,
)
