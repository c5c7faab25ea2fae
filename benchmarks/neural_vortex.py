"""Do label distributions move the spread within classes, and is it more than a change of scale?

    python benchmarks/neural_vortex.py vgg --out vortex

Trains a reference network from scratch on Fashion-MNIST under one-hot, positive and negative
smoothing, for several seeds, and prints one JSON object: pre-registered claims as ratios to one-hot
at each watched cut, median and range over seeds, and whether each holds.

- C7: R_c² under smooth(0.3) below 0.7 times, and under smooth(-0.05) above, that of one-hot at the
  last two cuts; at the first two within [0.7, 1.4].
- C7b: the same of nc1, which no change of scale moves.
- C8: smooth(0.3) costs at most 0.5 points of accuracy on the validation images.

Either outcome is an answer; the exit code is 0. Goes on where it was stopped. CPU minutes for a
seed, about three times those of `scripts/train_reference.py`: vgg 20, resnet 30, ir 45; vit has
weights that cannot be drawn anew. `--images 2000 --epochs 3 --seeds 1` takes a minute and proves
nothing.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splitveil.data import load_training
from splitveil.defences import EpochState, Hardened, harden, parse_components
from splitveil.models import load_model
from splitveil.rng import Rng
from splitveil.training import Schedule

ONE_HOT, POSITIVE, NEGATIVE = "onehot", "smooth(0.3)", "smooth(-0.05)"
EPOCHS = {"vgg": 12, "resnet": 8, "ir": 5}


def ratios(top: Sequence[Hardened], bottom: Sequence[Hardened], measure: str) -> dict[str, Any]:
    """Median and range over seeds of a measure's ratio after the last epoch, by cut."""
    found: dict[str, Any] = {}
    for cut in bottom[0].cuts:
        values = [
            a.states[-1].cuts[cut["id"]][measure].value
            / b.states[-1].cuts[cut["id"]][measure].value
            for a, b in zip(top, bottom, strict=True)
            if measure in a.states[-1].cuts[cut["id"]] and measure in b.states[-1].cuts[cut["id"]]
        ]
        if values:
            found[cut["name"]] = {
                "median": statistics.median(values),
                "low": min(values),
                "high": max(values),
            }
    return found


def claim(positive: dict[str, Any], negative: dict[str, Any]) -> dict[str, bool]:
    """The three parts of C7 from the medians; the logits count as the last cut."""
    down = [at["median"] for at in positive.values()]
    up = [at["median"] for at in negative.values()]
    return {
        "positive below 0.7 at the last two": all(value < 0.7 for value in down[-2:]),
        "negative above 1 at the last two": all(value > 1 for value in up[-2:]),
        "first two within [0.7, 1.4]": all(0.7 <= v <= 1.4 for v in (*down[:2], *up[:2])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(EPOCHS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    model = load_model(arguments.name)
    data = load_training("fashion-mnist", size=model.size, images=arguments.images)
    schedule = Schedule(epochs=arguments.epochs or EPOCHS[arguments.name])

    def say(state: EpochState) -> None:
        print(f"  epoch {state.number}: accuracy {state.accuracy}", flush=True)

    runs: dict[str, list[Hardened]] = {ONE_HOT: [], POSITIVE: [], NEGATIVE: []}
    for seed in range(arguments.seeds):
        for labels, done in runs.items():
            print(f"{arguments.name} {labels} seed {seed}", flush=True)
            done.append(
                harden(
                    model.network,
                    data,
                    parse_components(labels),
                    schedule=schedule,
                    rng=Rng(seed, ("vortex",)),
                    patience=None,
                    start="scratch",
                    watch=(),
                    folder=arguments.out / f"{arguments.name}-{labels}-{seed}",
                    device=arguments.device,
                    on_epoch=say,
                )
            )
    found: dict[str, Any] = {"network": arguments.name, "seeds": arguments.seeds}
    for name, measure in (("C7", "radius"), ("C7b", "nc1")):
        sides = [ratios(runs[labels], runs[ONE_HOT], measure) for labels in (POSITIVE, NEGATIVE)]
        found[name] = {POSITIVE: sides[0], NEGATIVE: sides[1], "holds": claim(*sides)}
    points = [
        100 * (a.accuracy.value - b.accuracy.value)
        for a, b in zip(runs[POSITIVE], runs[ONE_HOT], strict=True)
    ]
    found["C8"] = {"points": points, "holds": statistics.median(points) >= -0.5}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
