"""Worker processes on this machine, each with one pipe and one trial at a time.

The standard pools break as a whole when one process is killed and cannot say which task it had.
Here the parent knows what each worker runs: a lost worker costs one trial and is replaced.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from splitveil.audit.executors.base import Done, Make, Queue
from splitveil.errors import AuditError, WorkerLost
from splitveil.records import Trial

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class _Refusal:
    """An error on its way through a pipe: some of ours take more than their message to build."""

    kind: type[AuditError]
    message: str

    def error(self) -> AuditError:
        return self.kind.__new__(self.kind, self.message)


def _serve(make: Make, pipe: Connection) -> None:
    """The worker: load once, then do trials until the pipe closes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    for name in _THREADS:
        os.environ[name] = "1"
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        work = make()
    except AuditError as error:
        pipe.send(_Refusal(type(error), str(error)))
        return
    pipe.send(None)
    with suppress(EOFError, BrokenPipeError):
        while True:
            _give_back_memory()
            pipe.send(work(pipe.recv()))


def _give_back_memory() -> None:
    """Return freed pages to the system: the C library may keep those of the largest trial."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _die_with_parent() -> None:
    """A killed audit leaves no worker behind to use the machine."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    trial: Trial | None = None
    last: Trial | None = None

    def stop(self) -> None:
        self.pipe.close()
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


@dataclass(frozen=True)
class Processes:
    """`jobs` spawned processes with one compute thread each.

    A worker that dies, most often killed for want of memory, costs the trial it had: that comes
    back without an outcome and a fresh worker takes the next. `deaths` in a row without a finished
    trial between them end the run.
    """

    jobs: int
    deaths: int = field(default=8, kw_only=True)

    def run(self, make: Make, queue: Queue) -> Generator[Done, None, None]:
        _give_back_memory()  # what loading model and data took in this process
        workers: list[_Worker] = []
        waiting = [trial for _ in range(self.jobs) if (trial := queue.next(None))]
        try:
            workers.extend(self._start(make) for _ in waiting)
            yield from self._loop(make, queue, workers, waiting)
        finally:
            for worker in workers:
                worker.stop()

    def _start(self, make: Make) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(make, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _loop(
        self, make: Make, queue: Queue, workers: list[_Worker], waiting: list[Trial]
    ) -> Iterator[Done]:
        deaths = 0
        while any(worker.trial is not None or not worker.ready for worker in workers):
            for pipe in wait([worker.pipe for worker in workers]):
                worker = next(w for w in workers if w.pipe is pipe)
                try:
                    message = worker.pipe.recv()
                except (EOFError, ConnectionError):
                    deaths += 1
                    yield from self._bury(worker, workers, deaths)
                    if (trial := queue.next(None)) is not None:
                        waiting.append(trial)
                        workers.append(self._start(make))
                    continue
                if isinstance(message, _Refusal):
                    raise message.error()
                if message is None:
                    worker.ready = True
                else:
                    worker.trial, worker.last, deaths = None, worker.trial, 0
                    yield message  # before the next is chosen: the queue learns from it
                self._feed(queue, waiting, workers)

    def _feed(self, queue: Queue, waiting: list[Trial], workers: list[_Worker]) -> None:
        """Give each free worker its next trial; one that gets none now is asked again later."""
        for worker in workers:
            if worker.ready and worker.trial is None:
                worker.trial = waiting.pop(0) if waiting else queue.next(worker.last)
                if worker.trial is not None:
                    with suppress(BrokenPipeError):  # seen as end of file at the next wait
                        worker.pipe.send(worker.trial)

    def _bury(self, worker: _Worker, workers: list[_Worker], deaths: int) -> Iterator[Done]:
        """Give up a dead worker and the trial it had."""
        worker.process.join(5)
        cause = _cause(worker.process.exitcode)
        workers.remove(worker)
        trial = worker.trial
        ready = worker.ready
        worker.stop()
        if not ready:
            raise WorkerLost(
                f"a worker process {cause} while it loaded model and data: use jobs=1, or in a "
                "script of your own start the audit under `if __name__ == '__main__':`"
            )
        if deaths >= self.deaths:
            raise WorkerLost(
                f"{deaths} worker processes died in a row, the last {cause}: use fewer jobs or a "
                "smaller batch, then run the same command to go on"
            )
        if trial is not None:
            reason = f"WorkerLost: the worker {cause}; use fewer jobs, then run again"
            yield Done(trial, None, reason=reason)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = ", most often for want of memory" if name == "SIGKILL" else ""
        return f"was ended by {name}{memory}"
    return f"ended with code {code}"
