import os
import time
from pathlib import Path

import pytest
from audit_toys import Line, MakeToy, Toy, trial

from splitveil.audit.executors import Executor, InProcess, Processes, Queue
from splitveil.errors import BadModel, UnknownName, WorkerLost
from splitveil.records import Trial

BOTH: list[Executor] = [InProcess(), Processes(2)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


@pytest.mark.parametrize("executor", BOTH, ids=repr)
def test_every_trial_is_done_once_with_the_same_result(executor: Executor) -> None:
    assert isinstance(Line([]), Queue)
    trials = [trial(number) for number in range(7)]
    done = list(executor.run(MakeToy(Toy()), Line(trials)))
    assert sorted(d.trial.seed for d in done) == list(range(7))
    for one in done:
        assert one.outcome is not None
        assert one.outcome.quantities["mse"].value == one.trial.seed**2 + 0.1
        assert one.arrays["x"].tolist() == list(range(one.trial.seed))


@pytest.mark.parametrize("executor", BOTH, ids=repr)
def test_nothing_to_do_loads_nothing(executor: Executor) -> None:
    assert list(executor.run(MakeToy(Toy(broken="model")), Line([]))) == []


@pytest.mark.parametrize("executor", BOTH, ids=repr)
def test_a_loading_error_comes_through_as_itself(executor: Executor) -> None:
    with pytest.raises(BadModel, match="weights do not fit"):
        list(executor.run(MakeToy(Toy(broken="model")), Line([trial(1)])))
    with pytest.raises(UnknownName, match="did you mean vgg"):
        list(executor.run(MakeToy(Toy(broken="name")), Line([trial(1)])))


def test_a_killed_worker_costs_its_own_trial_only() -> None:
    trials = [trial(number, method="die()" if number == 2 else "square()") for number in range(6)]
    done = {d.trial.seed: d for d in Processes(2).run(MakeToy(Toy()), Line(trials))}
    assert set(done) == set(range(6))
    assert done[2].outcome is None
    assert "SIGKILL" in done[2].reason
    assert "fewer jobs" in done[2].reason
    assert all(done[k].outcome for k in done if k != 2)


def test_many_deaths_in_a_row_end_the_run() -> None:
    trials = [trial(number, method="die()") for number in range(9)]
    with pytest.raises(WorkerLost, match="2 worker processes died in a row"):
        list(Processes(1, deaths=2).run(MakeToy(Toy()), Line(trials)))


def test_a_worker_that_cannot_start_says_how_to_start_it() -> None:
    with pytest.raises(WorkerLost, match=r"code 3 while it loaded.*__main__"):
        list(Processes(1).run(MakeToy(Toy(broken="exit")), Line([trial(1)])))


def test_closing_the_iterator_ends_the_workers() -> None:
    import multiprocessing

    trials = [trial(0), trial(1, method="wait()"), trial(2, method="wait()")]
    began = time.monotonic()
    running = Processes(2).run(MakeToy(Toy()), Line(trials))
    first = next(running)
    assert first.trial.seed == 0
    pids = [child.pid for child in multiprocessing.active_children() if child.pid]
    assert len(pids) == 2
    running.close()
    assert not any(alive(pid) for pid in pids)
    assert time.monotonic() - began < 30


class Hesitant(Line):
    """Holds a trial back while another is running, as a queue that minds memory does."""

    def __init__(self) -> None:
        Line.__init__(self, [trial(number) for number in range(4)])
        self.running = 0

    def next(self, last: Trial | None) -> Trial | None:
        if self.running or not self.trials:
            return None
        self.running += 1
        return self.trials.pop(0)


def test_a_worker_without_a_trial_is_asked_again() -> None:
    queue = Hesitant()
    seen = []
    for done in Processes(2).run(MakeToy(Toy()), queue):
        queue.running -= 1
        seen.append(done.trial.seed)
    assert seen == [0, 1, 2, 3]
