import math

from audit_toys import trial

from splitveil.audit.schedule import DEAR, Job, Schedule, makespan, order


def job(number: int, seconds: float, *, method: str = "A()", cut: str = "c", rank: int = 0) -> Job:
    return Job(trial=trial(number, method=method, cut=cut), seconds=seconds, rank=rank)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def numbers(schedule: Schedule) -> list[int]:
    found = []
    while (one := schedule.next(None)) is not None:
        found.append(one.seed)
    return found


def test_by_rank_then_dear_ones_longest_first() -> None:
    jobs = [
        job(0, 9.0, rank=DEAR),
        job(1, 1.0, rank=1),
        job(2, 20.0, rank=DEAR),
        job(3, 2.0, rank=1),
        job(4, 50.0, rank=0),
    ]
    assert [j.trial.seed for j in order(jobs)] == [4, 1, 3, 2, 0]
    assert numbers(Schedule(jobs)) == [4, 1, 3, 2, 0]


def test_a_worker_keeps_its_cut_among_cheap_trials() -> None:
    jobs = [job(k, 1.0, cut="ab"[k % 2]) for k in range(6)]
    schedule = Schedule(jobs)
    last, seen = None, []
    while (one := schedule.next(last)) is not None:
        seen.append(one.seed)
        last = one
    assert seen == [0, 2, 4, 1, 3, 5]


def test_what_does_not_fit_is_left_with_a_reason_and_shorter_trials_still_run() -> None:
    clock = Clock()
    schedule = Schedule([job(2, 1.0), job(0, 30.0), job(1, 8.0)], seconds=10.0, clock=clock)
    first = schedule.next(None)
    assert first is not None
    assert first.seed == 2
    clock.now += 1.0
    second = schedule.next(first)
    assert second is not None
    assert second.seed == 1
    assert [left.trial.seed for left in schedule.left] == [0]
    assert "about 30 s needed, 9 s of the budget were left" in schedule.left[0].reason


def test_estimates_follow_the_machine() -> None:
    clock = Clock()
    schedule = Schedule(
        [job(0, 10.0), job(1, 9.0), job(2, 8.0, method="B()")], seconds=40.0, clock=clock
    )
    first = schedule.next(None)
    assert first is not None
    clock.now += 30.0
    schedule.finish(first, 30.0)
    assert schedule.expected(job(7, 1.0)) == 3.0
    second = schedule.next(None)
    assert second is not None
    assert second.seed == 2  # 27 s for the other of its method, 10 s are left
    assert [left.trial.seed for left in schedule.left] == [1]


def test_remaining_time() -> None:
    clock = Clock()
    schedule = Schedule([job(k, 6.0) for k in range(4)], clock=clock)
    assert schedule.remaining(2) == 12.0
    one = schedule.next(None)
    clock.now += 5.0
    assert schedule.remaining(2) == 9.5
    assert one is not None
    schedule.finish(one, 6.0)
    assert schedule.remaining(3) == 6.0
    schedule.abandon("stopped")
    assert schedule.remaining(3) == 0.0
    assert len(schedule.left) == 3
    bounded = Schedule([job(0, 6.0)], seconds=2.0, clock=clock)
    assert bounded.remaining(1) == 2.0


def test_makespan_is_that_of_list_scheduling() -> None:
    jobs = [job(k, seconds, rank=DEAR) for k, seconds in enumerate((5.0, 4.0, 4.0, 5.0))]
    assert makespan(jobs, 1) == 18.0
    assert makespan(jobs, 2) == 9.0
    assert makespan([], 2) == 0.0
    assert math.isclose(makespan(jobs, 0), 18.0)


def test_two_large_trials_never_run_together() -> None:
    jobs = [
        Job(trial=trial(number), seconds=1.0, bytes=size)
        for number, size in enumerate((60, 70, 20, 30))
    ]
    schedule = Schedule(jobs, bytes=100.0)
    first, second = schedule.next(None), schedule.next(None)
    assert first is not None
    assert second is not None
    assert (first.seed, second.seed) == (0, 2)
    assert schedule.next(None) is None  # 80 are in use: asked again later
    schedule.finish(first, 1.0)
    assert numbers(schedule) == [1]
    alone = Schedule(jobs, bytes=10.0)
    assert alone.next(None) is not None  # what runs alone always may
