"""The default audit as a person starts it: wall time, memory, and what its figures must show.

    python benchmarks/default_audit.py

Runs `splitveil audit` on the bundled demonstration in a fresh folder, on an otherwise idle machine,
and prints a JSON line. Fails (exit 1) unless

- wall time is at most 180 s and the largest sum of proportional set sizes over the whole process
  tree at most 2 GB;
- something is proved of every attacker at a noisy cut, and the noise it would take is found, or is
  said to have found no time, where features are sent as they are;
- the best attack at the first convolution is above 30 dB PSNR, and the least error at the last cut
  is at least half of the class-mean floor and ten times that at the first;
- `splitveil --help` takes at most 0.5 s (median of five) without importing torch.

About 4 CPU minutes.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from splitveil.audit.joint import error_bounds
from splitveil.audit.store import Run, open_run
from splitveil.records import Status, Task

COMMAND = [sys.executable, "-m", "splitveil"]
PERIOD = 0.5


def tree_bytes(root: psutil.Process) -> int:
    """Proportional set size of a process and all below it: shared pages are counted once."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def timed_audit(folder: Path) -> tuple[float, int]:
    """Run the default audit; wall seconds and peak bytes."""
    began = time.monotonic()
    process = subprocess.Popen([*COMMAND, "audit", "--out", str(folder)])
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        root = psutil.Process(process.pid)
        while not done.wait(PERIOD):
            try:
                peak = max(peak, tree_bytes(root))
            except psutil.NoSuchProcess:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    wall = time.monotonic() - began
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"the audit ended with code {code}")
    return wall, peak


def least_errors(run: Run) -> list[tuple[str, float, float]]:
    """Name, least mean squared error per value and highest PSNR of each plain cut, by depth."""
    outcomes = [
        o
        for o in run.outcomes()
        if o.trial.task is Task.ATTACK and o.status is Status.DONE and o.headline
    ]
    found = []
    for cost in run.manifest["cuts"]:
        cut = cost["cut"]
        here = [o for o in outcomes if o.trial.cut == cut["id"] and o.trial.release == "Identity()"]
        if here:
            error = min(o.quantities["mse"].value for o in here)
            psnr = max(o.quantities["psnr"].value for o in here)
            found.append((cut["name"], error, psnr))
    return found


def claims(run: Run) -> dict[str, int]:
    """How many cells have a positive bound, and at how many cuts the noise needed was sought."""
    trials = [o for o in run.outcomes() if o.trial.task is Task.BOUND and o.status is Status.DONE]
    sought = [o for o in trials if o.trial.method.startswith("noise_needed(")]
    late = [
        left for left in run.summary["not_attacked"] if left["method"].startswith("noise_needed(")
    ]
    proved = [o for o in trials if any(q.value > 1e-6 for q in error_bounds(o).values())]
    return {"proved": len(proved), "noise_sought": len(sought), "noise_left": len(late)}


def help_seconds() -> tuple[float, bool]:
    """Median wall time of `splitveil --help`, and whether it imports torch."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([*COMMAND, "--help"], check=True, capture_output=True)
        times.append(time.monotonic() - began)
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "splitveil", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    imports = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    return statistics.median(times), "torch" in imports


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        wall, peak = timed_audit(path)
        run = open_run(path)
        errors, proved = least_errors(run), claims(run)
        floor = min(
            o.quantities["mse"].value
            for o in run.outcomes()
            if o.trial.method.startswith("ClassMean") and o.status is Status.DONE
        )
    help_wall, imports_torch = help_seconds()
    first, last = errors[0], errors[-1]
    gates = {
        "wall at most 180 s": wall <= 180,
        "memory at most 2 GB": peak <= 2e9,
        "something is proved": proved["proved"] >= 1,
        "noise sought or left": proved["noise_sought"] + proved["noise_left"] >= 1,
        "first cut above 30 dB": first[2] > 30,
        "error rises towards the floor": 10 * first[1] < last[1] and 0.5 * floor < last[1],
        "help within 0.5 s": help_wall <= 0.5,
        "help without torch": not imports_torch,
    }
    figures = {
        "wall_s": round(wall, 1),
        "peak_MB": round(peak / 1e6),
        "help_s": round(help_wall, 3),
        "class_mean_mse": floor,
        **proved,
        "by_depth": [(name, float(f"{e:.3g}"), round(p, 1)) for name, e, p in errors],
        "gates": gates,
    }
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if all(gates.values()) else 1)


if __name__ == "__main__":
    main()
