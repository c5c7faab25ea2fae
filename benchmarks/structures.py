"""What prune, ensembler, expert and ressfl leave to attackers: docs/hypotheses-structures.md.

    python benchmarks/structures.py FOLDER     # at most 10 CPU minutes; goes on if stopped

Hardens the shadows and the expert, compares the arms with `splitveil compare`, and prints ratios of
errors, paired image by image, as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from splitveil.audit.store import Run
from splitveil.cli import DONE, run
from splitveil.measures.paired import log_ratio
from splitveil.records import digest
from splitveil.rng import Rng

ATTACKS = (
    "PatchRidge()",
    "Ridge()",
    "SmallDecoder(epochs=4)",
    "InverseResidual(epochs=4)",
    "AttentionDecoder(epochs=4,width=64,depth=1)",
)
SHARED = ["--cut", "pool2", "--images", "3000", "--epochs", "2", "--learning-rate", "5e-4"]
SHADOWS = (1, 2, 3)
CUT = "pool2"


def harden(folder: Path, defence: str, seed: int) -> None:
    if (folder / "weights.safetensors").is_file():
        return
    words = ["harden", "vgg", *SHARED, "--defence", defence, "--seed", str(seed)]
    if run([*words, "--out", str(folder)]) != DONE:
        sys.exit(f"{defence} was not hardened")


def arms(folder: Path) -> dict[str, str]:
    return {
        "plain": "onehot",
        "prune": "prune(0.5)",
        "prune lightly": "prune(0.2)",
        "narrow": "bottleneck(8)",
        "ressfl": "ressfl(2,channels=8,end=0.1)",
        "ressfl uncapped": "ressfl(2,channels=8,cap=0,end=0.1)",
        "expert": f"expert({folder / 'expert'})+ressfl(0.5,channels=0)",
        "ensembler": f"ensembler({folder / 'shadows'},chosen=2)+fixed-noise(0.1)",
    }


def best_errors(folder: Path, text: str) -> np.ndarray:
    """Test errors by image of the attack that did best on validation images."""
    audit = Run(folder / "compare" / "arms" / digest([text, CUT]) / "audit")
    tried = [o for o in audit.outcomes() if "validation_mse" in o.quantities and o.trial.cut != "*"]
    best = min(tried, key=lambda o: o.quantities["validation_mse"].value)
    return np.asarray(audit.artefact(best.artefact)["mse_test"], dtype=np.float64)


def main() -> int:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    for seed in SHADOWS:
        harden(folder / "shadows" / str(seed), "fixed-noise(0.1)", seed)
    harden(folder / "expert", "ressfl(2,channels=8)", 4)
    named = arms(folder)
    words = ["compare", "vgg", *SHARED, "--out", str(folder / "compare")]
    words += [part for text in ATTACKS for part in ("--attack", text)]
    words += [part for text in [*named.values()][1:] for part in ("--defence", text)]
    if run(words) != DONE:
        return 1
    errors = {name: torch.from_numpy(best_errors(folder, text)) for name, text in named.items()}
    pairs = [(name, "plain") for name in [*named][1:]]
    pairs += [
        ("ressfl", "narrow"),
        ("ressfl uncapped", "narrow"),
        ("expert", "ressfl"),
        ("expert", "narrow"),
    ]
    found = {
        f"{one} / {other}": log_ratio(
            errors[one], errors[other], Rng(0).child("structures", one, other)
        ).to_json()
        for one, other in pairs
    }
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
