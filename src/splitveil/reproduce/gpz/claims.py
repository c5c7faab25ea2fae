"""Golden Partition Zone, arXiv 2506.15412: what it claims of reference networks; no torch.

Thresholds are ours, loose on purpose, and were committed before any run; docs/hypotheses-gpz.md
says the same in words.
"""

from splitveil.reproduce.claims import Claim, Criterion

NETWORKS = ("vgg", "resnet", "ir", "vit")
NOISES = (0.3, 0.1, 0.03, 0.01)

DEPTH = Claim(
    id="gpz.C1",
    statement="What is sent late is much harder to invert than what is sent early.",
    criteria=(
        Criterion(measured="MSE(logits) / MSE(first cut)", low=4, subjects=NETWORKS),
        Criterion(measured="MSE(logits) / MSE(first pool)", low=3, subjects=("vgg",)),
        Criterion(measured="MSE(zone start) / MSE(shallow third)", low=2, subjects=("vgg",)),
    ),
    source="headline of the abstract, >4x over four models; thresholds ours",
)
ABRUPT = Claim(
    id="gpz.C2",
    statement="The error of the attack rises abruptly, in one step from one cut to the next.",
    criteria=(
        Criterion(
            measured="share of ln(MSE(last) / MSE(first)) in the largest step",
            low=0.4,
            subjects=NETWORKS,
        ),
    ),
    source="the transition zone of the paper; threshold ours",
    expected="not met by a small VGG in a pilot of one seed: 0.32",
)
ALIGNED = Claim(
    id="gpz.C3",
    statement="Features contract within classes where the attack's error rises most.",
    criteria=(
        Criterion(
            measured="cuts from the largest fall of nc1 to the largest step of MSE",
            high=1,
            subjects=NETWORKS,
        ),
    ),
    source="R_c^2 falls where the error jumps; in nc1, which no rescaling moves; threshold ours",
    expected="the number of features alone may align as well",
)
RANKED = Claim(
    id="gpz.C4",
    statement="The spread within classes ranks cuts by how hard they are to invert.",
    criteria=(Criterion(measured="rank correlation of nc1 and MSE", high=-0.8, subjects=NETWORKS),),
    source="R_c^2 as a criterion for partitioning; in nc1; threshold ours",
    expected="in a pilot of one seed nc1 -1, raw R_c^2 -0.98, the number of features -0.98",
)
DELAYED = Claim(
    id="gpz.C5",
    statement="Residual connections delay the zone: it starts deeper in ResNet than in VGG.",
    criteria=(
        Criterion(
            measured="depth of the zone's start less that of vgg", low=0, subjects=("resnet",)
        ),
    ),
    source="residual links slow the decay of I(X;Z); threshold ours",
)
TOKENS = Claim(
    id="gpz.C6",
    statement="Where all tokens of a transformer cross there is no zone; the class token alone "
    "is hard to invert.",
    criteria=(
        Criterion(
            measured="MSE(all tokens, last block) / MSE(all tokens, first block)",
            high=2,
            subjects=("vit",),
        ),
        Criterion(
            measured="MSE(class token, last block) / MSE(all tokens, last block)",
            low=2,
            subjects=("vit",),
        ),
    ),
    source="ViT keeps its patch tokens, so there is no transition; thresholds ours",
)
ENHANCED = Claim(
    id="gpz.C10",
    statement="An enhanced attack gains a little at every level and leaves the gap between them.",
    criteria=(
        Criterion(
            measured="MSE(enhanced) / MSE(base)",
            low=0.75,
            high=1.02,
            subjects=("vgg pool2", "vgg pool5"),
        ),
        Criterion(
            measured="(MSE(pool5) - MSE(pool2)) / MSE(pool5), enhanced", low=0.5, subjects=("vgg",)
        ),
    ),
    source="decision level 66 % stronger under enhancement; thresholds ours",
)
CEILING = Claim(
    id="gpz.C11",
    statement="No attack does worse than the class mean, and at the logits hardly better.",
    criteria=(
        Criterion(measured="largest eta over cuts", low=0, high=1.05, subjects=NETWORKS),
        Criterion(measured="eta at the logits", low=0.8, high=1.05, subjects=NETWORKS),
    ),
    source="ceiling of the specification: eta = MSE / error of the class mean; thresholds ours",
)
SANE = Claim(
    id="gpz.C12",
    statement="The measures obey their identities and orders on features of real networks.",
    criteria=(
        Criterion(measured="|S_T - S_W - S_B| / S_T", high=1e-9, subjects=NETWORKS),
        Criterion(measured="change by the order of merging, relative", high=1e-10),
        Criterion(
            measured="change of nc1, rho, r(e) by 7 z, relative", high=1e-9, subjects=NETWORKS
        ),
        Criterion(
            measured="R_c^2 of 7 z over R_c^2", low=48.999999, high=49.000001, subjects=NETWORKS
        ),
        Criterion(measured="largest rise of L_ladder(m) with m, nat", high=1e-9, subjects=NETWORKS),
        Criterion(measured="L_plug / L_oas", high=1, subjects=NETWORKS),
        Criterion(measured="L_oas / L_tr", high=1.001, subjects=NETWORKS),
    ),
    source="sanity of the specification; tolerances ours",
)
SWITCH = Claim(
    id="gpz.C14",
    statement="The decisive variance switches from the global one to R_c^2 at the decision level: "
    "the class form of the leak budget becomes the tighter one in the last third of the network.",
    criteria=tuple(
        Criterion(
            measured=f"depth from which the class form is the tighter, noise {noise:g}",
            low=2 / 3,
            subjects=NETWORKS,
        )
        for noise in NOISES
    ),
    source="(P1) and (P2) of the paper; that a third is late is ours",
    expected="does not hold: with S_T / S_W > K^(2/D) the class form is the tighter one at almost "
    "every cut, shallow ones included",
)

CLAIMS = (
    DEPTH,
    ABRUPT,
    ALIGNED,
    RANKED,
    DELAYED,
    TOKENS,
    ENHANCED,
    CEILING,
    SANE,
    SWITCH,
)
