"""The claims on PEEL of docs/peel.md, as numbers with ranges; set before the runs."""

from splitveil.reproduce.claims import Claim, Criterion

_PAPER = "Arif, Murugesan, Das, Gittens and Chen 2025; threshold ours"
_OURS = "ours"
SHARES = (1.0, 0.5, 0.25, 0.1, 0.0)
ONE, THREE = "one", "three"
WIDE = tuple(f"{name}, {ratio}" for name in (ONE, THREE) for ratio in ("1.33", "2.67"))
NARROW = tuple(f"{name}, 0.67" for name in (ONE, THREE))
BEFORE = (
    "resnet relu",
    "resnet stage1.block1",
    "resnet stage1.block2",
    "resnet stage1.block3",
    "ir prelu",
    "ir stage1.unit2",
)
BEHIND = (
    "resnet stage2.block1",
    "resnet stage3.block1",
    "ir stage2.unit1",
    "ir stage2.unit2",
    "ir stage3.unit2",
)

EXACT = Claim(
    id="peel.P1",
    statement="an identity chain of a trained network is undone exactly",
    criteria=(
        Criterion(measured="log10 image MSE", high=-8),
        Criterion(measured="log10 MSE over the published method's", high=-3),
    ),
    source=_PAPER,
)
FAST = Claim(
    id="peel.P2",
    statement="fast: CPU seconds on one thread, same batch, interleaved",
    criteria=(
        Criterion(measured="seconds over the published method's", high=0.1),
        Criterion(measured="a batch of 16 over 16 single images", high=0.5),
    ),
    source=_OURS,
)
SKIP = Claim(
    id="peel.P3",
    statement="the skip is what leaks: same joint solver, five starts, as drawn",
    criteria=(Criterion(measured="log10 MSE of c = 0 over c = 1", low=3),),
    source=_PAPER,
)
RIVALS = Claim(
    id="peel.P4",
    statement="beats searches without structure and learnt inverses, trained network",
    criteria=(
        Criterion(measured="log10 MSE of total variation over PEEL", low=1),
        Criterion(measured="log10 MSE of a decoder over PEEL", low=1),
    ),
    source=_PAPER,
)
HONEST = Claim(
    id="peel.P5",
    statement="true outputs of every block, which are not observed, flatter the published method",
    criteria=(
        Criterion(
            measured="log10 error at the first block, chained over reset to the truth", low=1
        ),
    ),
    source="ours, of the released code",
)
STRIDE = Claim(
    id="peel.P6",
    statement="a block of stride 2 hides its input, not the image; as drawn",
    criteria=(
        Criterion(measured="relative MSE of the block alone with its true output", low=0.3),
        Criterion(measured="log10 relative MSE, joint over block-wise", high=-2),
    ),
    source=_OURS,
)
DEPTH = Claim(
    id="peel.P7",
    statement="depth costs condition: 1, 2, 4, 8, 16 identity blocks as drawn",
    criteria=(
        Criterion(
            measured="correlation of log10 MSE with the sum of log10 condition numbers", low=0.9
        ),
    ),
    source=_OURS,
)
NOISE = Claim(
    id="peel.P8",
    statement="errors follow the noise, 1e-5 to 1e-3 of the features' deviation, trained network",
    criteria=(Criterion(measured="slope of log10 MSE in log10 noise", low=1.7, high=2.3),),
    source=_OURS,
)
COUNT = Claim(
    id="peel.P9",
    statement=(
        "through one and through three blocks of stride 2 the count of outputs decides: median of "
        "16 images, as drawn"
    ),
    criteria=(
        Criterion(measured="median log10 MSE, more outputs than unknowns", high=-6, subjects=WIDE),
        Criterion(
            measured="median log10 MSE, fewer outputs than unknowns", low=-6, subjects=NARROW
        ),
    ),
    source=_OURS,
    expected="holds through one block, fails through three",
)
PLACES = Claim(
    id="peel.P10",
    statement="on the bundled networks the image is found as far as the first block of stride 2",
    criteria=(
        Criterion(measured="log10 MSE before it", high=-8, subjects=BEFORE),
        Criterion(measured="log10 MSE behind it", low=-8, subjects=BEHIND),
    ),
    source="ours, after two other images a cut",
    expected="holds",
)

CLAIMS = (EXACT, FAST, SKIP, RIVALS, HONEST, STRIDE, DEPTH, NOISE, COUNT, PLACES)
