"""The claims on conditional entropy maximisation of docs/hypotheses-cem.md; set before the runs."""

import math

from splitveil.reproduce.claims import Claim, Criterion

_PAPER = "arXiv 2503.00383; threshold ours"
_OURS = "ours"
TENTH = math.log(1.1)
GAIN = "ln error over the base's"
OTHERS = ("dropout", "bottleneck", "nopeek", "adversary")
ELSEWHERE = ("mnist", "emoji", "faces")
NETWORKS = ("vgg", "resnet")
MOVED_PLACES = tuple(f"{network}, {data}" for network in NETWORKS for data in ELSEWHERE)
MEANS = ("more noise", "fewer channels")
RIVALS = tuple(f"{network}, {means}" for network in NETWORKS for means in MEANS)

NOISE_OURS = Claim(
    id="cem.C1a",
    statement="adding cem(rate) to noise alone raises the error of the better attack",
    criteria=(Criterion(measured=GAIN, low=TENTH),),
    source=_PAPER,
    expected="does not hold: 7 % at 2 points of accuracy in the first run",
)
NOISE_PUBLISHED = Claim(
    id="cem.C1b",
    statement="so does cem-published",
    criteria=(Criterion(measured=GAIN, low=TENTH),),
    source=_PAPER,
    expected="does not hold: 3 % in the first run",
)
COST = Claim(
    id="cem.C1c",
    statement="neither costs more than a point of accuracy on test images, noise alone",
    criteria=(Criterion(measured="accuracy less the base's", low=-0.01),),
    source=_PAPER,
    expected="undecided: strengths are chosen to lose up to a point",
)
BASES = Claim(
    id="cem.C1d",
    statement="on the other bases too, at least one in three of four",
    criteria=(Criterion(measured="bases whose error ours raises by 10 %", low=3),),
    source=_PAPER,
    expected="does not hold",
)
AVERAGE = Claim(
    id="cem.C1e",
    statement="the mean gain over the five bases is of the size that the paper names",
    criteria=(Criterion(measured="mean ratio of errors", low=1.1, high=1.6),),
    source=_PAPER,
    expected="does not hold: below",
)
DATA = Claim(
    id="cem.C1f",
    statement="on noise alone and other images ours raises the error by 10 % too",
    criteria=(Criterion(measured=GAIN, low=TENTH, subjects=ELSEWHERE),),
    source=_OURS,
    expected="does not hold",
)
LARGER = Claim(
    id="cem.C1g",
    statement="on the bundled networks behind a bottleneck of 8 channels it does",
    criteria=(Criterion(measured=GAIN, low=TENTH, subjects=NETWORKS),),
    source=_PAPER,
)
STEERED = Claim(
    id="cem.C1h",
    statement="on the bundled networks it does once its price meets the target",
    criteria=(Criterion(measured=GAIN, low=TENTH, subjects=NETWORKS),),
    source=_OURS,
    expected="does not hold: vgg gained 2 % for a rate lower by 0.09",
)
GRID = Claim(
    id="cem.C1i",
    statement="the mean gain over five bases on four kinds of images is of the paper's size",
    criteria=(Criterion(measured="mean ratio of errors", low=1.1, high=1.6),),
    source=_PAPER,
    expected="does not hold: below",
)
MOVED = Claim(
    id="cem.C1j",
    statement="on vgg and resnet it does so too for the other kinds of images",
    criteria=(Criterion(measured=GAIN, low=TENTH, subjects=MOVED_PLACES),),
    source=_PAPER,
    expected="holds on vgg and faces, undecided on emoji",
)
LARGER_MEAN = Claim(
    id="cem.C1k",
    statement="its mean gain over vgg and resnet and four kinds of images is of the paper's size",
    criteria=(Criterion(measured="mean ratio of errors", low=1.129, high=1.482),),
    source=_PAPER,
    expected="holds",
)
CONTROLLED = Claim(
    id="cem.C1l",
    statement="on the small network the price that meets its target gains what the paper names",
    criteria=(Criterion(measured="mean ratio of errors", low=1.1, high=1.6),),
    source=_PAPER,
    expected="undecided",
)
SIMPLER = Claim(
    id="cem.C1m",
    statement="more noise, or fewer channels, buy no more at the same loss of accuracy",
    criteria=(
        Criterion(measured="ln error, cem over the simpler means", low=0.0, subjects=RIVALS),
    ),
    source=_OURS,
    expected="holds against noise, undecided against channels",
)
MIXED = Claim(
    id="cem.C1n",
    statement="some of the noise with cem beats all the noise that costs the same accuracy",
    criteria=(Criterion(measured="ln error over more noise's", low=0.0, subjects=NETWORKS),),
    source=_OURS,
    expected="undecided",
)
PUBLISHED_AGAIN = Claim(
    id="cem.C1y",
    statement="with that price ours at equal utility beats the published form, over eight places",
    criteria=(Criterion(measured="mean ratio of errors, ours over published", low=1.0),),
    source=_OURS,
    expected="undecided",
)
DIRECT = Claim(
    id="cem.C1x",
    statement="ours at equal utility beats the published form, on noise alone",
    criteria=(Criterion(measured="ln error over the published form's", low=0.0),),
    source=_OURS,
    expected="holds, as in the first run",
)
LIKENESS = Claim(
    id="cem.C2a",
    statement="pictures get less like, noise alone",
    criteria=(Criterion(measured="SSIM less the base's", high=0.0),),
    source=_PAPER,
    expected="holds",
)
PSNR = Claim(
    id="cem.C2b",
    statement="the mean over images of PSNR moves as the ratio of errors says, noise alone",
    criteria=(Criterion(measured="change beyond -10 log10 of the ratio, dB", low=-0.3, high=0.3),),
    source=_OURS,
    expected="holds",
)
STRENGTH = Claim(
    id="cem.C3",
    statement="the error rises with strength and with noise, noise alone",
    criteria=(
        Criterion(measured="rank correlation with 0, 0.5, 1, 2 of the chosen fall", low=0.8),
        Criterion(measured="rank correlation with noise of 0.1, 0.3, 1", low=0.8),
    ),
    source=_OURS,
    expected="holds",
)
SIGN = Claim(
    id="cem.C4b",
    statement="Shannon's form and the measured ratio agree in sign",
    criteria=(Criterion(measured="share of arms and seeds that agree", low=0.9),),
    source=_OURS,
    expected="undecided: too few arms",
)
FOLLOWED = Claim(
    id="cem.C10a",
    statement="clusters that follow batches reach a rate close to that of k-means over all images",
    criteria=(
        Criterion(measured="rate of following clusters over k-means's", low=0.95, high=1.05),
    ),
    source=_OURS,
    expected="holds",
)
SHAPE = Claim(
    id="cem.C10b",
    statement="one variance a cluster costs little against one a value, same target, noise alone",
    criteria=(Criterion(measured="ln error, isotropic over diagonal", low=-0.03),),
    source=_OURS,
    expected="holds",
)

CLAIMS = (
    NOISE_OURS,
    NOISE_PUBLISHED,
    COST,
    BASES,
    AVERAGE,
    DATA,
    LARGER,
    STEERED,
    GRID,
    MOVED,
    LARGER_MEAN,
    CONTROLLED,
    SIMPLER,
    MIXED,
    DIRECT,
    PUBLISHED_AGAIN,
    LIKENESS,
    PSNR,
    STRENGTH,
    SIGN,
    FOLLOWED,
    SHAPE,
)
