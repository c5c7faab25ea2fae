import pytest
import torch
from torch.distributions import Normal

from splitveil.attacks import NearestFeatures, PosteriorMean
from splitveil.errors import BadPlan
from splitveil.estimators.gallery import GalleryPosterior
from splitveil.release import DitheredQuantiser, Identity
from splitveil.rng import Rng
from splitveil.testing.conformance.attacks import small_case
from splitveil.testing.oracles import LinearGaussian
from splitveil.threat import BlackBox, Observation


@pytest.mark.parametrize("sends", [1, 3])
def test_it_is_bayes_rule_with_the_gallery_for_a_prior(sends: int) -> None:
    """A second way: the joint density of all sends, one gallery image and one z at a time."""
    problem = LinearGaussian.random(3, 4, Rng(1), sigma=0.7)
    knowledge = problem.knowledge(40, Rng(2))
    observation, _ = problem.observe(6, Rng(3), sends=sends)
    found = PosteriorMean(temper=1.0).fit(knowledge, Rng(4))(observation, Rng(5))
    x = knowledge.auxiliary.x
    clean = x.double() @ problem.matrix.T + problem.offset
    for z, guess in zip(observation.z.double(), found, strict=True):
        density = torch.stack([Normal(f, problem.sigma).log_prob(z).sum() for f in clean]).exp()
        expected = (density[:, None] * x.double()).sum(0) / density.sum()
        torch.testing.assert_close(guess.double(), expected, atol=1e-5, rtol=1e-5)


def test_on_its_own_gallery_it_errs_by_what_the_genie_bound_says() -> None:
    """Targets drawn from the gallery: the error is the posterior variance, on average."""
    problem = LinearGaussian.random(4, 6, Rng(1), sigma=0.6)
    knowledge = problem.knowledge(300, Rng(2))
    x = knowledge.auxiliary.x
    own = torch.randint(0, 300, (1500,), generator=Rng(3).torch())
    sent = knowledge.release(knowledge.head(x[own]).detach(), Rng(4).torch())
    fitted = PosteriorMean(temper=1.0).fit(knowledge, Rng(5))
    guess = fitted(Observation(sent[:, None], knowledge.layout), Rng(6))
    errors = (guess - x[own]).double().square().mean(1)
    genie = GalleryPosterior(x[own])
    scores = knowledge.release.pairwise_log_prob(sent, knowledge.head(x).detach())
    assert scores is not None
    genie.update(scores, x, own)
    spread = errors - genie.state().variance
    assert abs(float(spread.mean())) < 4 * float(spread.std()) / len(spread) ** 0.5


def test_it_nears_the_least_error_as_the_gallery_grows() -> None:
    problem = LinearGaussian.random(2, 3, Rng(1), sigma=0.5)
    observation, x = problem.observe(4000, Rng(3))
    errors = []
    for n in (10, 100, 3000):
        fitted = PosteriorMean(temper=1.0).fit(problem.knowledge(n, Rng(2)), Rng(4))
        guess = fitted(observation, Rng(5))
        errors.append(float((guess - x).double().square().mean()) / problem.mmse)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] == pytest.approx(1, abs=0.05)


def test_a_temper_chosen_on_auxiliary_images_beats_exact_bayes_on_a_sparse_gallery() -> None:
    problem = LinearGaussian.random(12, 16, Rng(1), sigma=0.3)
    observation, x = problem.observe(1000, Rng(3))
    chosen, exact = (
        float(
            (attack.fit(problem.knowledge(300, Rng(2)), Rng(4))(observation, Rng(5)) - x)
            .double()
            .square()
            .mean()
        )
        for attack in (PosteriorMean(), PosteriorMean(temper=1.0))
    )
    assert chosen < 0.9 * exact


def test_without_a_density_it_is_kernel_regression() -> None:
    """No worse than averaging neighbours, white-box or black-box alike."""
    case = small_case(Identity())
    white = case.knowledge()
    black = BlackBox(white.auxiliary, white.tail, white.layout, True, True, oracle=white.oracle)
    answers = [PosteriorMean().fit(k, Rng(0))(case.observation(), Rng(1)) for k in (white, black)]
    torch.testing.assert_close(*answers)
    near = NearestFeatures().fit(white, Rng(0))(case.observation(), Rng(1))
    assert float((answers[0] - case.x).square().mean()) < 1.2 * float(
        (near - case.x).square().mean()
    )


def test_a_z_that_nothing_in_the_gallery_could_have_sent_is_still_answered() -> None:
    clean = small_case()
    z = clean.partition.features(clean.auxiliary.x).detach()
    case = small_case(DitheredQuantiser(bits=6).fit(z))
    fitted = PosteriorMean().fit(case.knowledge(), Rng(0))
    guess = fitted(case.observation(), Rng(1))
    assert torch.isfinite(guess).all()
    mean = case.auxiliary.x.mean(0)
    assert float((guess - case.x).square().mean()) < float((mean - case.x).square().mean())


def test_refusals() -> None:
    with pytest.raises(BadPlan, match="temper"):
        PosteriorMean(temper=0.0)
    with pytest.raises(BadPlan, match="samples"):
        PosteriorMean(samples=1)
