"""What conditional entropy maximisation gains, under the rules of docs/hypotheses-cem.md.

    nice -n 15 python benchmarks/cem_claims.py --out FOLDER     # first run: about 15 CPU minutes

Trains the small network on 4,000 images of Fashion-MNIST for every arm and seed, attacks what
crosses, and keeps each as one JSON file in the folder, so that the same command goes on after a
stop. Strengths are chosen on seed 100 by validation accuracy alone. With all of a base's files
there it prints claims, numbers and verdicts as JSON. `--bases noise nopeek ...` names the bases;
the first run is noise alone.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from scipy import stats
from torch import Tensor, nn

from splitveil.attacks import Ridge, SmallDecoder
from splitveil.attacks.base import Reconstructor
from splitveil.data import LabelledImages, Splits, TrainingImages, load_data, load_training
from splitveil.data.division import SplitSizes
from splitveil.defences import harden, parse_components
from splitveil.estimators.centroids import fit_clusters
from splitveil.estimators.rates import class_rate, held_out_rate, retained_ratio
from splitveil.measures import log_ratio_over_seeds
from splitveil.measures.reconstruction import mse_per_image, ssim_per_image
from splitveil.models.accuracy import predict
from splitveil.partition import Partition
from splitveil.quantities import Kind, Quantity
from splitveil.release import ClippedGaussian
from splitveil.reproduce.claims import Criterion
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box
from splitveil.training import Schedule

BASES = {
    "noise": "noise(0.3)",
    "nopeek": "noise(0.3)+nopeek(1)",
    "adversary": "noise(0.3)+adversary(1)",
    "bottleneck": "noise(0.3)+bottleneck(2)",
}
SEEDS, CHOOSING = (0, 1, 2), 100
SHARES = (0.8, 0.6, 0.4, 0.25, 0.15)
WEIGHTS = (1.0, 0.3, 0.1, 0.03, 0.01)
LOST = 0.01
SCHEDULE = Schedule(epochs=10)
VALUES, PIXELS, CLASSES = 256, 1024, 10
CUT = "7"


def network() -> nn.Module:
    """The small network, cut behind its sigmoid."""
    with Rng(0, ("cem", "small")).as_global():
        return nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 4, 3, padding=1), nn.Sigmoid()),
            *(nn.Conv2d(4, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(1024, CLASSES)),
        ).eval()


@dataclass(frozen=True)
class Images:
    """Images to train on, and the attacker's."""

    training: TrainingImages
    attack: Splits

    @staticmethod
    def load() -> "Images":
        return Images(
            load_training("fashion-mnist", size=32, images=4000),
            load_data(
                "fashion-mnist",
                size=32,
                limits=SplitSizes(auxiliary=1500, validation=500, test=1000),
            ),
        )


def arm(folder: Path, images: Images, text: str, seed: int, *, attacked: bool) -> dict[str, Any]:
    """One training and what was measured of it, from its file where there is one."""
    path = folder / f"{text}-{seed}{'-attacked' if attacked else ''}.json"
    if path.is_file():
        return json.loads(path.read_text())
    start = time.process_time()
    hardened = harden(
        source(folder, images, seed),
        images.training,
        parse_components(text),
        cut=CUT,
        schedule=SCHEDULE,
        rng=Rng(seed, ("cem", "claims")),
        patience=None,
    )
    partition = hardened.partition
    assert partition is not None
    mean, upper = rates(partition, images.training)
    found: dict[str, Any] = {
        "text": text,
        "seed": seed,
        "validation": hardened.accuracy.value,
        "rate": mean,
        "rate upper": upper,
    }
    if attacked:
        found |= attacks(partition, images.attack, Rng(seed, ("cem", "attacks")))
    found["cpu seconds"] = time.process_time() - start
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(found))
    beside.replace(path)
    print(f"{text}, seed {seed}: {brief(found)}", file=sys.stderr, flush=True)
    return found


def source(folder: Path, images: Images, seed: int) -> nn.Module:
    """The plain network that every arm of a seed starts from."""
    path, net = folder / f"source-{seed}.safetensors", network()
    if not path.is_file():
        trained = harden(
            net,
            images.training,
            parse_components("onehot"),
            schedule=SCHEDULE,
            rng=Rng(seed, ("cem", "source")),
            patience=None,
            start="scratch",
        )
        save_file(trained.network.state_dict(), path)
    net.load_state_dict(load_file(path))
    return net


def brief(found: dict[str, Any]) -> str:
    kept = ("validation", "rate", "mse", "accuracy", "best", "cpu seconds")
    return ", ".join(f"{name} {found[name]}" for name in kept if name in found)


@torch.no_grad()
def rates(partition: Partition, data: TrainingImages) -> tuple[float, float]:
    """Mean rate given the label on probe images, and its upper end, nats per value."""
    release = partition.release
    assert isinstance(release, ClippedGaussian)
    train, probe = (release.clip(partition.features(p.x)) for p in (data.train, data.probe))
    assert data.train.y is not None
    assert data.probe.y is not None
    generator = Rng(0, ("cem", "clusters")).torch()
    clusters = fit_clusters(train, data.train.y, classes=CLASSES, clusters=5, generator=generator)
    mean = class_rate(probe, data.probe.y, clusters, sigma=release.sigma).mean()
    upper = held_out_rate(
        probe,
        clusters,
        sigma=release.sigma,
        radius=release.radius,
        centre=release.centre,
        y=data.probe.y,
    )
    return float(mean), upper.value


def attacks(partition: Partition, data: Splits, rng: Rng) -> dict[str, Any]:
    """Errors of the attack that is better on images it is chosen on; accuracy on noisy features."""
    knowledge = white_box(partition, Auxiliary(data.auxiliary.x))
    best: tuple[float, str, Tensor, Tensor] | None = None
    means = {}
    for attack in (Ridge(), SmallDecoder()):
        name = type(attack).__name__
        reconstruct = attack.fit(knowledge, rng.child(name, "fit"))
        errors, _ = scores(reconstruct, partition, data.validation, rng.child(name, "pick"))
        scored, likeness = scores(reconstruct, partition, data.test, rng.child(name, "test"))
        means[name] = float(scored.mean())
        if best is None or float(errors.mean()) < best[0]:
            best = float(errors.mean()), name, scored, likeness
    assert best is not None
    assert data.test.y is not None
    sent = partition.transmit(data.test.x, rng.child("accuracy"))
    with torch.no_grad():
        right = (partition.predict(sent).argmax(1) == data.test.y).double().mean()
    return {
        "best": best[1],
        "mse": float(best[2].mean()),
        "ssim": float(best[3].mean()),
        "errors": [round(v, 7) for v in best[2].tolist()],
        "attacks": means,
        "accuracy": float(right),
    }


def scores(
    reconstruct: Reconstructor, partition: Partition, images: LabelledImages, rng: Rng
) -> tuple[Tensor, Tensor]:
    """Error and likeness of each image; the label is unknown."""
    sent = partition.transmit(images.x, rng.child("sent"))
    answer = reconstruct(
        Observation(sent[:, None], partition.cut.layout, None), rng.child("answer")
    )
    answer = answer.clamp(0, 1)
    return mse_per_image(answer, images.x), ssim_per_image(answer, images.x)


def strengths(folder: Path, images: Images, base: str) -> dict[str, str]:
    """The strongest setting of each form that keeps validation accuracy, on a seed of its own."""
    plain = arm(folder, images, base, CHOOSING, attacked=False)
    ladders = {
        "ours": [f"{base}+cem(rate={share * plain['rate']:.3g})" for share in SHARES[::-1]],
        "published": [f"{base}+cem-published({weight:g})" for weight in WEIGHTS],
    }
    chosen = {}
    for form, ladder in ladders.items():
        found = [arm(folder, images, text, CHOOSING, attacked=False) for text in ladder]
        kept = [f["text"] for f in found if f["validation"] >= plain["validation"] - LOST - 1e-9]
        chosen[form] = kept[0] if kept else ladder[-1]
    return chosen


def judged(
    name: str, found: Quantity, *, low: float = -math.inf, high: float = math.inf
) -> dict[str, Any]:
    verdict = Criterion(measured=name, low=low, high=high).of(found)
    return {"claim": name, "found": str(found), "verdict": str(verdict)}


def student(values: list[float], unit: str) -> Quantity:
    mean = statistics.fmean(values)
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Quantity(
        value=mean,
        low=mean - half,
        high=mean + half,
        unit=unit,
        kind=Kind.MEASURED,
        n=len(values),
    )


def answers(arms: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Claims on one base."""
    errors = {
        form: torch.tensor([[one["errors"]] for one in found], dtype=torch.float64)
        for form, found in arms.items()
    }
    rng = Rng(0, ("cem", "bootstrap"))
    ratio = {
        form: log_ratio_over_seeds(errors[form], errors["base"], rng.child(form))
        for form in ("ours", "published")
    }
    direct = log_ratio_over_seeds(errors["ours"], errors["published"], rng.child("direct"))
    tenth = math.log(1.1)
    out = [
        judged("C1a ln error ratio, ours", ratio["ours"], low=tenth),
        judged("C1b ln error ratio, published", ratio["published"], low=tenth),
        judged("C1x ln error, ours over published", direct, low=0.0),
    ]
    for form in ("ours", "published"):
        pairs = list(zip(arms[form], arms["base"], strict=True))
        lost = student([a["accuracy"] - b["accuracy"] for a, b in pairs], "share")
        out.append(judged(f"C1c accuracy, {form}", lost, low=-LOST))
        alike = student([a["ssim"] - b["ssim"] for a, b in pairs], "ssim")
        out.append(judged(f"C2a SSIM, {form}", alike, high=0.0))
        same = [
            (math.log(a["mse"] / b["mse"]) >= 0)
            == (retained_ratio(a["rate"], b["rate"], values=VALUES, dimensions=PIXELS) >= 1)
            for a, b in pairs
        ]
        out.append({"claim": f"C4b same sign, {form}", "found": f"{sum(same)} of {len(same)}"})
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bases", nargs="+", choices=list(BASES), default=["noise"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    images = Images.load()
    assert predict(network(), images.training.probe.x[:2]).shape == (2, CLASSES)
    result = {}
    for name in options.bases:
        base = BASES[name]
        texts = {"base": base, **strengths(options.out, images, base)}
        arms: dict[str, list[dict[str, Any]]] = {form: [] for form in texts}
        for seed in SEEDS:
            for form, text in texts.items():
                arms[form].append(arm(options.out, images, text, seed, attacked=True))
        seconds = [json.loads(p.read_text())["cpu seconds"] for p in options.out.glob("*.json")]
        result[name] = {
            "arms": texts,
            "means": {
                form: {
                    key: statistics.fmean(one[key] for one in found)
                    for key in ("mse", "ssim", "accuracy", "rate", "rate upper")
                }
                for form, found in arms.items()
            },
            "claims": answers(arms),
            "cpu minutes in all": sum(seconds) / 60,
        }
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
