"""No sentence may call a model, a proxy or a measured number a bound; planted breaches are seen."""

from collections.abc import Callable

import pytest
from run_folders import Builder

from splitveil.errors import MislabelledClaim
from splitveil.quantities import Kind, Quantity
from splitveil.records import Task
from splitveil.report import write_report
from splitveil.report.proved import proved_cell
from splitveil.report.wording import breaches, check_wording, text_of_markdown, text_of_page

BREACHES = [
    "The leakage is bounded by 0.4.",
    "A certified PSNR of 21.3 dB.",
    "dFIL gives a guarantee for every image.",
    "MINE certifies two nats.",
    "Here R²c is a bound, measured in one pass.",
    "The van Trees bound is 0.05.",
    "Proxies guarantee that little leaks.",
    "The best attack provably finds all there is.",
    "L = 0.31 is guaranteed.",
    "Its accuracy is bounded below.".replace(" below", ""),
    "This upper-bounds the accuracy.",
    "An estimate is a lower bound, we are told.",
    "Distances are fine; the HSIC is a certificate.",
    "Nothing is proved, but the leakage is guaranteed.",
]
HONEST = [
    "Only the first two may be called a bound.",
    "There is no information-theoretic guarantee.",
    "dFIL is a proxy and bounds nothing.",
    "The best attack lies below the bound: trust neither.",
    "An attack is compared with a bound: R² is measured.",
    "The error of the best attack is an upper limit.",
    "A certified floor of what leaks.",
    "BOUNDED: with noise (accuracy 0.81), no attacker gets below mse 0.02; L = 0.3.",
    "The bounding box of the radius.",
    "genie_bound() and its leakage.",
]


@pytest.mark.parametrize("sentence", BREACHES)
def test_a_planted_breach_is_refused(sentence: str) -> None:
    assert list(breaches(sentence))
    with pytest.raises(MislabelledClaim, match="only a theorem may be called that"):
        check_wording(f"All is well. {sentence} And on it goes.")


@pytest.mark.parametrize("sentence", HONEST)
def test_honest_sentences_pass(sentence: str) -> None:
    assert list(breaches(sentence)) == []


def test_a_number_no_theorem_stands_behind_is_refused() -> None:
    check_wording("The bound is 0.0191.", weak_numbers={"0.0375"})
    with pytest.raises(MislabelledClaim, match=r"'0\.0375'"):
        check_wording("The bound is 0.0375.", weak_numbers={"0.0375"})


def test_names_that_people_gave_are_theirs() -> None:
    name = "certified leakage net"
    assert list(breaches(f"Model {name} was cut."))
    assert not list(breaches(f"Model {name} was cut.", names={name}))


def test_pages_and_markdown_are_read_as_people_read_them() -> None:
    page = "<p>The leakage</p><p>A bound.</p><style>bound leakage</style><td>dFIL <b>bound</b></td>"
    (found,) = breaches(text_of_page(page))
    assert found.of == "dFIL"
    text = "The leakage\nis a guarantee.\n\n```\nleakage bound\n```\n\n| leakage | a bound |\n"
    (found,) = breaches(text_of_markdown(text))
    assert found.word == "guarantee"
    assert list(breaches(text_of_markdown("A **certified** leakage."))) != []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitveil.report.html.png", lambda chart: b"PNG")


@pytest.mark.usefixtures("quick")
def test_a_page_with_a_breach_is_not_written(builder: Callable[..., Builder]) -> None:
    run = builder(images=False).fill()
    run.summary["verdict"] = "RECOVERED. The leakage of every attack is certified."
    path = run.write()
    with pytest.raises(MislabelledClaim, match="certified"):
        write_report(path)
    assert not (path / "report.html").exists()
    assert not (path / "figures").exists()
    measured = Quantity.from_json(run.findings[0]["mse"]).value
    run.summary["verdict"] = f"A bound of {measured:.3g} holds."
    with pytest.raises(MislabelledClaim, match="bound"):
        write_report(run.write())


@pytest.mark.usefixtures("quick")
def test_a_run_whose_names_sound_like_claims_is_written(builder: Callable[..., Builder]) -> None:
    run = builder(
        cuts=3, images=False, model="certified-leakage", cut_names=lambda i: f"bound of L = {i}.25"
    ).fill()
    reason = "BadPlan: the leakage is bounded by nothing"
    run.add(Task.ATTACK, run.cut_id(0), "guaranteed:Accuracy()", reason=reason)
    assert write_report(run.write()).exists()


@pytest.mark.parametrize("kind", [Kind.MODEL, Kind.PROXY, Kind.MEASURED])
def test_the_table_of_what_is_proved_takes_nothing_else(kind: Kind) -> None:
    with pytest.raises(MislabelledClaim, match="cannot stand among what is proved"):
        proved_cell("mse", Quantity.exact(0.1, unit="mse", kind=kind))
