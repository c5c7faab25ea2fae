"""Searching many images and restarts in one batch, against one at a time.

    python benchmarks/optimisation_attacks.py [--images 64] [--restarts 8] [--steps 20]

The same searches three ways in one process, on one thread, behind a cut of the bundled VGG and on
bundled images: all images and restarts in one batch, chunk measured; each image with its restarts;
each image and restart alone. Alone, a row is evaluated twice over for the sake of equal bits; the
time to beat is without that, whose answers are compared too, outside the gate. Times are processor
seconds. One JSON object; fails (exit 1) unless the batch takes at most 0.65 of the time of one at a
time and no value of any image's answer differs by more than 1e-4. About 2 CPU minutes.
"""

import argparse
import json
import time
from dataclasses import replace

import torch
from torch import Tensor

from splitveil.attacks import Likelihood
from splitveil.attacks.evidence import observed
from splitveil.attacks.likelihood import Searching
from splitveil.attacks.optimise import Minimum
from splitveil.attacks.optimise.objective import Problems
from splitveil.data import load_data
from splitveil.models import load_model
from splitveil.nets import evaluating
from splitveil.partition import trace
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box

RATIO, SAME = 0.65, 1e-4
PLAIN = "one by one, each row once"


def fitted(cut: str, images: int, restarts: int, steps: int) -> tuple[Searching, Observation]:
    data = load_data(None, size=None, channels=None, classes=None, rng=Rng(0))
    traced = trace(load_model(None).network, data.test.x[:2])
    partition = traced.split(traced.cut(cut))
    labels, y = data.auxiliary.y, data.test.y
    assert labels is not None
    assert y is not None
    known = white_box(partition, Auxiliary(data.auxiliary.x[:500], labels[:500]))
    attack = Likelihood(
        prior="gaussian", weight=1e-3, restarts=restarts, steps=steps, factors=(), chunk=None
    )
    found = attack.fit(known, Rng(1))
    assert isinstance(found, Searching)
    with torch.no_grad():
        z = partition.features(data.test.x[:images])
    return found, Observation(z[:, None], partition.cut.layout, y[:images])


class Race:
    """The searches of one observation, in groups of any size."""

    def __init__(self, attack: Searching, observation: Observation) -> None:
        mean, rows = observed(observation, attack.layout, attack.classes, torch.device("cpu"))
        self.attack, self.restarts = attack, attack.restarts
        self.objective = attack.objective(observation.z)
        self.start = attack.starts(mean, rows).x.flatten(0, 1)
        each = torch.arange(len(mean)).repeat_interleave(self.restarts)
        weight = torch.full((len(each),), 1e-3, dtype=torch.float64)
        self.problems = Problems(each, rows[each], 0 * weight, weight)
        self.seconds: dict[str, float] = {}
        self.found: dict[str, list[Minimum]] = {}

    def run(self, name: str, rows: Tensor, size: int) -> None:
        objective = replace(self.objective, least=1) if name == PLAIN else self.objective
        begin = time.process_time()
        with evaluating(objective.head):
            parts = [
                self.attack.plan.solve(
                    objective,
                    self.problems.take(part),
                    self.start[part],
                    torch.zeros(len(part), dtype=torch.bool),
                )[0]
                for part in rows.split(size)
            ]
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - begin
        self.found.setdefault(name, []).extend(parts)

    def answers(self, name: str) -> Tensor:
        """Of each image, the start of least objective."""
        found = Minimum.join(self.found[name])
        best = found.value.reshape(-1, self.restarts).argmin(1)
        return found.x.reshape(len(best), self.restarts, -1)[torch.arange(len(best)), best]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("images", 64), ("restarts", 8), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--cut", default="pool3")
    given = parser.parse_args()
    torch.set_num_threads(1)
    race = Race(*fitted(given.cut, given.images, given.restarts, given.steps))
    ways = {"batch": len(race.start), "image by image": given.restarts, "one by one": 1, PLAIN: 1}
    rows = torch.arange(len(race.start))
    race.run("warm up", rows[:2], 1)
    for name, size in ways.items():
        race.run(name, rows, size)
    batch = race.answers("batch")
    apart = {n: (race.answers(n) - batch).abs() for n in ways}
    ratio = race.seconds["batch"] / min(race.seconds[n] for n in ("one by one", PLAIN))
    gates = {
        f"batch at most {RATIO} of one by one": ratio <= RATIO,
        f"answers within {SAME}": all(float(apart[n].max()) <= SAME for n in ways if n != PLAIN),
    }
    figures = {
        "cut": given.cut,
        "images": given.images,
        "restarts": given.restarts,
        "steps": given.steps,
        "cpu_s": {name: round(race.seconds[name], 2) for name in ways},
        "batch over one by one": round(ratio, 3),
        "batch over image by image": round(
            race.seconds["batch"] / race.seconds["image by image"], 3
        ),
        "largest difference of any value": {n: float(d.max()) for n, d in apart.items()},
        "images that differ by more": {n: int((d.amax(1) > SAME).sum()) for n, d in apart.items()},
        "gates": gates,
    }
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if all(gates.values()) else 1)


if __name__ == "__main__":
    main()
