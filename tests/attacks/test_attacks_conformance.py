import pytest

from splitveil.attacks import (
    AdversarialDecoder,
    AttentionDecoder,
    ClassMean,
    Decoder,
    DeepImagePrior,
    EnhancedDecoder,
    EnhancedRepresentation,
    InverseResidual,
    Likelihood,
    LogScores,
    MeanImage,
    NearestAuxiliary,
    NearestFeatures,
    PartialLeastSquares,
    PatchRidge,
    PosteriorMean,
    Refined,
    Ridge,
    ShadowEncoder,
    SmallDecoder,
    Unrolled,
    UnSplit,
    __all__,
)
from splitveil.attacks.base import Attack
from splitveil.testing.conformance.attacks import AttackConformance

ATTACKS = (
    MeanImage(),
    ClassMean(),
    NearestAuxiliary(samples=40),
    DeepImagePrior(steps=4, width=4, depth=2, restarts=2),
    Likelihood(restarts=2, steps=12, tuning=4),
    Likelihood(optimiser="lbfgs", prior="variation", steps=8, tuning=4),
    LogScores(attack=Ridge()),
    NearestFeatures(),
    NearestFeatures(neighbours=3, samples=40),
    PartialLeastSquares(components=8),
    PosteriorMean(),
    PosteriorMean(temper=1.0, samples=40),
    Ridge(),
    Ridge(samples=20),
    PatchRidge(),
    PatchRidge(neighbourhoods=(3,), samples=30),
    Decoder(epochs=1, width=8, depth=1),
    Decoder(epochs=2, width=8, depth=1, precision="bf16-mixed"),
    SmallDecoder(epochs=1, width=8),
    AttentionDecoder(epochs=1, width=8, depth=1, heads=2, flips=True),
    EnhancedRepresentation(epochs=1, width=8, start="mean", representation="spectrum"),
    EnhancedDecoder(epochs=1, width=8, start="mean"),
    InverseResidual(epochs=1, width=8, depth=1, start="mean", representation="bottleneck"),
    Refined(decoder=SmallDecoder(epochs=1, width=8, start="mean"), steps=4),
    Unrolled(epochs=1, width=8, steps=2),
    ShadowEncoder(epochs=1, width=8, decoder=SmallDecoder(epochs=1, width=8, start="mean")),
    AdversarialDecoder(epochs=1, decoder=SmallDecoder(epochs=1, width=8, start="mean")),
)
COUPLED = (UnSplit(rounds=2, steps=2, width=8),)


class TestEveryAttack(AttackConformance):
    @pytest.fixture(params=ATTACKS, ids=repr)
    def attack(self, request: pytest.FixtureRequest) -> Attack:
        attack: Attack = request.param
        return attack


class TestEveryCoupledAttack(AttackConformance):
    deterministic = False  # answers depend on the batch

    @pytest.fixture(params=COUPLED, ids=repr)
    def attack(self, request: pytest.FixtureRequest) -> Attack:
        attack: Attack = request.param
        return attack


def test_every_attack_of_the_catalogue_is_held_to_it() -> None:
    held = {type(attack).__name__ for attack in (*ATTACKS, *COUPLED)}
    residual_only = {"Peel", "PublishedPeel"}  # held to it in test_attacks_peel.py
    assert held | residual_only == set(__all__)
    assert list(__all__) == sorted(__all__)
