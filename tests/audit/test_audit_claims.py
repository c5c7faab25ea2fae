"""What claim trials find, against closed forms and what must not be claimed."""

import math
from functools import cache

import pytest
import torch

from splitveil.audit.claims import Cell, Setting, claim
from splitveil.audit.claims.cell import Found
from splitveil.audit.claims.noise import _rounded_up, noise_claims
from splitveil.audit.claims.proved import bounds
from splitveil.audit.claims.proxies import calibration, proxies
from splitveil.audit.claims.twin import twin
from splitveil.audit.joint import alarms, error_bounds
from splitveil.errors import BadPlan
from splitveil.partition import Partition
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release import GaussianNoise, UniformQuantiser, parse_release
from splitveil.release.base import Release
from splitveil.release.gaussian import ClippedGaussian
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian

N = 800


@cache
def problem() -> LinearGaussian:
    return LinearGaussian.random(4, 6, Rng(1), sigma=1.0)


def cell(release: Release, *, labelled: bool = True, n: int = N) -> Cell:
    made = problem()
    plain = made.partition(torch.float32)
    x = made.targets(n, Rng(2)).float()
    with torch.no_grad():
        z = plain.features(x)
    y = (x[:, 0] > 0).long() if labelled else None
    partition = Partition(plain.cut, plain.head, release, plain.tail)
    return Cell(partition, x, z, y, knows_label=False, rng=Rng(3))


def gaussian(sigma: float = 1.0) -> ClippedGaussian:
    made = problem()
    with torch.no_grad():
        z = made.partition(torch.float32).features(made.targets(2000, Rng(4)).float())
    return GaussianNoise(sigma=sigma, clip=1.0, scale="absolute").fit(z)


@pytest.fixture(scope="module")
def noisy() -> Found:
    return bounds(cell(gaussian()))


def test_every_claim_agrees_with_the_closed_form(noisy: Found) -> None:
    made, q = problem(), noisy.quantities
    assert "without" not in noisy.details
    for name in ("mse_bound", "mse_bound_success"):
        assert q[name].is_bound
        assert q[name].value <= made.mmse
    assert q["mse_bound"].value > 0.3 * made.mmse
    for name in ("payload", "capacity", "variational", "log_det", "leave_one_out_high"):
        assert q[name].is_bound
        assert q[name].direction is Direction.UPPER
        assert q[name].value >= 0.99 * made.information
    for name in ("leave_one_out_low", "leak_floor"):
        assert q[name].is_bound
        assert q[name].direction is Direction.LOWER
        assert q[name].value <= 1.01 * made.information
    assert q["leak_floor"].value > 0
    assert q["beyond_label"].value < q["variational"].value + 0.5
    told = min(q[n].value for n in ("variational", "log_det", "leave_one_out_high", "capacity"))
    assert math.isclose(q["retention"].value, math.exp(-2 * told / 4))


def test_each_claim_is_stated_at_a_level_that_allows_fifty(noisy: Found) -> None:
    levels = {n: q.level for n, q in noisy.quantities.items() if q.kind is Kind.CONFIDENCE}
    for name in ("mse_bound", "variational", "log_det", "leave_one_out_low", "leak_floor"):
        assert levels[name] == 0.999
    # what rests on several of them holds where all do
    assert levels["near_by_information"] < 0.998


def test_models_stand_beside_and_are_no_bounds(noisy: Found) -> None:
    q = noisy.quantities
    for name in ("budget", "budget_by_class", "gallery_low", "gallery_high"):
        assert q[name].kind is Kind.MODEL
        assert not q[name].is_bound
    assert q["gallery_low"].value <= q["gallery_high"].value <= math.log(200) + 1e-9
    noise = gaussian()
    budget = (
        0.5
        * 6
        * math.log1p(float(cell(noise).z.var(0, unbiased=False).sum()) / (6 * noise.sigma**2))
    )
    assert math.isclose(q["budget"].value, budget / (4 * math.log(2)), rel_tol=1e-3)
    assert not q["worst_image"].is_bound


def test_deterministic_features_have_a_payload_and_a_floor_and_nothing_else() -> None:
    for recipe, bits, least in (("none", 32, 1.5), ("quantise(bits=3)", 3, 0.1)):
        plain = cell(gaussian()).z
        found = bounds(cell(parse_release(recipe).fit(plain)))
        assert set(found.quantities) == {"mse_bound", "payload", "leak_floor"}
        zero = found.quantities["mse_bound"]
        assert (zero.value, zero.kind) == (0.0, Kind.THEOREM)
        assert "no information-theoretic guarantee" in zero.assumptions[0]
        assert math.isclose(found.quantities["payload"].value, bits * 6 * math.log(2))
        # the nearest features name the image
        assert found.quantities["leak_floor"].value > least


def test_noise_before_rounding_is_what_is_proved_of_both() -> None:
    z = cell(gaussian()).z
    both = parse_release("gaussian(sigma=1.0)+quantise(bits=4)").fit(z)
    found = bounds(cell(both)).quantities
    assert found["mse_bound"].value > 0
    assert math.isclose(found["payload"].value, 4 * 6 * math.log(2))
    assert not found["leave_one_out_low"].is_bound if "leave_one_out_low" in found else True


def test_dither_has_bounds_without_a_gaussian() -> None:
    found = bounds(cell(parse_release("dither(bits=2)").fit(cell(gaussian()).z))).quantities
    assert {"mse_bound", "variational", "payload"} <= set(found)
    assert "log_det" not in found
    assert "budget" not in found


def test_without_labels_nothing_is_said_beyond_the_label() -> None:
    found = bounds(cell(gaussian(), labelled=False)).quantities
    assert "beyond_label" not in found
    assert "budget_by_class" not in found
    assert found["mse_bound"].value > 0


def test_too_few_images_leave_reasons() -> None:
    found = bounds(cell(gaussian(), n=30))
    assert "leak_floor" in found.details["without"]  # type: ignore[operator]
    assert "capacity" in found.quantities


def test_the_noise_needed_buys_what_it_says() -> None:
    plain = cell(parse_release("none").fit(cell(gaussian()).z))
    scored: list[float] = []

    def score(release: ClippedGaussian) -> dict[str, Quantity]:
        scored.append(release.sigma)
        return {"accuracy": Quantity.exact(0.5, unit="share", kind=Kind.MEASURED)}

    auxiliary = cell(gaussian()).z
    rms = GaussianNoise(sigma=1.0).fit(auxiliary).sigma
    weak, strong = (noise_claims(plain, lambda: auxiliary, floor, score) for floor in (0.5, 3.0))
    for found in (weak, strong):
        assert found.details["release"] == f"gaussian(sigma={found.quantities['noise'].value:g})"
        assert found.quantities["bought"].is_bound
        assert found.quantities["bought"].value > 0.7 * float(found.details["asked"])  # type: ignore[arg-type]
        assert "no information-theoretic guarantee" in str(found.details["words"])
        assert not error_bounds_of(found)
    assert strong.quantities["noise"].value > weak.quantities["noise"].value
    assert scored == pytest.approx([f.quantities["noise"].value * rms for f in (weak, strong)])
    assert weak.quantities["accuracy_there"].value == 0.5
    nothing = noise_claims(plain, lambda: auxiliary, 1e6, score)
    assert "more private images" in nothing.details["without"]["noise"]  # type: ignore[index]
    assert {"payload", "leak_floor"} <= set(nothing.quantities)


def error_bounds_of(found: Found) -> list[str]:
    return [name for name in found.quantities if name.startswith("mse_bound")]


@pytest.mark.parametrize("sigma", [0.05, 0.123456, 1.0, 9.991, 12.34, 50.0])
def test_noise_is_rounded_up_to_three_digits(sigma: float) -> None:
    up = _rounded_up(sigma)
    assert sigma <= up <= 1.011 * sigma
    assert len(f"{up:g}".replace(".", "").strip("0")) <= 3


@pytest.mark.slow
def test_proxies_are_proxies_with_their_calibration() -> None:
    found = proxies(cell(gaussian())).quantities
    assert set(found) == {
        "distance_correlation", "hsic", "mine", "nwj", "info_nce", "club", "dfil",
    }  # fmt: skip
    assert {q.kind for q in found.values()} == {Kind.PROXY}
    ladders = calibration(Rng(0), 400).details["ladders"]
    assert set(ladders) == set(found) - {"dfil"}  # type: ignore[call-overload]
    for rungs in ladders.values():  # type: ignore[attr-defined]
        assert [rung["nats"] for rung in rungs] == [0.5, 2.0, 5.0, 10.0, 20.0]
        assert rungs[-1]["found"]["value"] > rungs[0]["found"]["value"]


def test_a_declared_source_gives_models_and_the_exact_error_where_it_is_linear() -> None:
    made, given = problem(), cell(gaussian(), labelled=False)
    wide = Cell(given.partition, given.x, given.z, None, knows_label=False, rng=Rng(5))
    found = twin(wide, made.targets(4000, Rng(6)).float(), None, images=64).quantities
    assert {q.kind for q in found.values()} == {Kind.MODEL}
    assert not any(q.is_bound for q in found.values())
    assert found["van_trees"].value == pytest.approx(made.mmse, rel=0.1)
    assert found["shannon"].value <= made.mmse
    assert found["efroimovich"].value <= found["van_trees"].value * 1.05
    with pytest.raises(BadPlan, match="Gaussian noise"):
        twin(cell(UniformQuantiser(bits=4).fit(given.z)), given.x, None)


def test_a_claim_nobody_knows_is_refused() -> None:
    setting = Setting(
        images=N,
        cell=lambda: cell(gaussian()),
        auxiliary=(torch.zeros(1, 4), None),
        features=lambda: torch.zeros(1, 6),
        floor=lambda: 1.0,
        scored=lambda release: {},
    )
    assert "mse_bound" in claim("bounds(level=0.999)", setting, Rng(0)).quantities
    with pytest.raises(BadPlan, match="nothing is known of the claim"):
        claim("guess()", setting, Rng(0))


def test_the_claims_of_a_sound_cell_raise_no_alarm(noisy: Found) -> None:
    from audit_toys import HERE

    from splitveil.records import Outcome, Status, Task, Trial

    trial = Trial(scope="s", task=Task.BOUND, cut="a", release="N()", method="bounds()", seed=0)
    outcome = Outcome(
        trial=trial,
        status=Status.DONE,
        environment=HERE,
        seconds=1.0,
        quantities=noisy.quantities,
    )
    assert set(error_bounds(outcome)) == {"mse_bound", "mse_bound_success"}
    assert alarms([outcome], {"a": "conv1"}) == []
