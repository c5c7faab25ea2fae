"""Seconds a class at equal success, for every published attack, and what batching classes saves.

    splitveil reproduce tldmi --seeds 1 --claims C8 --out FOLDER
    python benchmarks/class_inversion.py FOLDER     # 15 CPU minutes; priors are read

One JSON object a line, an attack each, as soon as it is done.

Each attack searches for all forty characters of the undefended network of seed 0 while two judges
look on; their time is left out. Reported, in processor seconds a class: start and search together
until the judges take so large a share of the images (null: never), and the whole of it. Priors and
students are trained before. The four first classes alone, one at a time, show
what searching for all of them at once saves.
"""

import json
import sys
import time
from pathlib import Path

import torch

from splitveil.audit.store import Run
from splitveil.class_inversion import Hooks
from splitveil.class_inversion.evaluation import Curve
from splitveil.class_inversion.evaluation.curve import seconds_to
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.tldmi.attacked import judging, prepared
from splitveil.reproduce.tldmi.claims import ATTACKS, CHEAP, NONE
from splitveil.reproduce.tldmi.images import CLASSES
from splitveil.reproduce.tldmi.networks import Network

SHARES = (0.2, 0.3, 0.4, 0.6)
ALONE = 4


def measured(name: str, bench: Bench, folder: Path) -> dict[str, object]:
    began = time.process_time()
    ready = prepared(name, Network(defence=NONE).network(bench), 0, folder)
    curve = Curve(judging(folder), every=25)
    whole = ready.search(range(CLASSES), hooks=Hooks(on_step=curve)).processor_seconds / CLASSES
    points = curve.points()
    # the curve begins with the search, after its start
    start = whole - points[-1].seconds
    alone = sum(ready.search([k]).processor_seconds for k in range(ALONE)) / ALONE
    reached = {f"{share:g}": seconds_to(points, share) for share in SHARES}
    return {
        "success": points[-1].accuracy,
        "seconds a class": whole,
        "of it the start": start,
        "seconds a class to a share": {
            share: None if seconds is None else start + seconds
            for share, seconds in reached.items()
        },
        "one class alone": alone,
        "alone over together": alone / whole,
        "cpu seconds spent": time.process_time() - began,
    }


def main() -> int:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    bench = Bench(store=Run(folder))
    for name in (*ATTACKS, CHEAP):
        print(json.dumps({"attack": name} | measured(name, bench, folder)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
