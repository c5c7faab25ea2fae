"""Run folders of every sort, written as an audit writes them, without running one."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy.ndimage import gaussian_filter

from splitveil.quantities import Direction, Kind, Quantity
from splitveil.records import Environment, Outcome, Status, Task, Trial

ENVIRONMENT = Environment(
    splitveil="0.1.0",
    python="3.11.9",
    torch="2.13.0",
    platform="Linux-6.1-x86_64",
    processor="x86_64",
    threads=1,
    device="cpu",
)
NOISE = "GaussianNoise(sigma=1.5, clip=8.0)"
ATTACKS = ("PatchRidge()", "Ridge()", "Decoder(epochs=4)")
KINDS = ("convolution", "activation", "pool")
CLASS_FLOOR = 0.0432


def around(value: float, spread: float, unit: str, kind: Kind = Kind.MEASURED) -> Quantity:
    return Quantity(
        value=value, low=value - spread, high=value + spread, unit=unit, kind=kind, n=500
    )


def share(value: float, spread: float = 0.02) -> Quantity:
    return Quantity(
        value=value,
        low=max(0.0, value - spread),
        high=min(1.0, value + spread),
        unit="share",
        kind=Kind.MEASURED,
        n=500,
    )


def pictures(count: int = 16, size: int = 32) -> np.ndarray:
    """(count, 1, size, size) shapes, each with its own stripes, uint8."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    made = []
    for i in range(count):
        inside = ((x - 0.5) / (0.25 + 0.02 * i)) ** 2 + ((y - 0.5) / 0.42) ** 2 < 1
        stripes = 0.6 + 0.4 * np.sin((3 + i) * 6.3 * (x * (i % 3) + y * ((i + 1) % 3)))
        made.append(np.round(255 * inside * stripes).astype(np.uint8)[None])
    return np.stack(made)


@dataclass
class Builder:
    """Writes a run's folder piece by piece; change a field before `write`."""

    path: Path
    cuts: int = 8
    demo: bool = True
    labels: bool = True
    finished: bool = True
    model: str = "vgg"
    cut_names: Callable[[int], str] = lambda i: (
        f"features.{i // 3 + 1}.{('conv', 'relu', 'pool')[i % 3]}"
    )
    images: bool = True
    outcomes: list[Outcome] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    def cut_id(self, index: int) -> str:
        return f"cut{index:04d}"

    def cost(self, index: int) -> dict[str, Any]:
        channels, side = 16 * (1 + index // 5), max(1, 32 >> (index // 4))
        values = channels * side * side
        return {
            "cut": {
                "id": self.cut_id(index),
                "name": self.cut_names(index),
                "kind": KINDS[index % 3],
                "depth": (index + 1) / self.cuts,
                "layout": {
                    "parts": [{"shape": [channels, side, side], "axis": 0, "multiplicity": 1}]
                },
            },
            "bytes_fp32": 4 * values,
            "bytes_fp16": 2 * values,
            "bytes_uint8": values + 8,
            "edge_parameters": 448 + 9216 * index,
            "edge_flops": 884_736 + 4_100_000 * index,
            "total_flops": 4_100_000 * self.cuts,
            "edge_seconds": around(3e-4 + 1e-4 * index, 2e-5, "s").to_json(),
            "cloud_seconds": around(3e-3 - 1e-4 * min(index, 25), 2e-5, "s").to_json(),
        }

    def add(
        self,
        task: Task,
        cut: str,
        method: str,
        *,
        release: str = "Identity()",
        quantities: dict[str, Quantity] | None = None,
        details: dict[str, Any] | None = None,
        reason: str = "",
        arrays: dict[str, np.ndarray] | None = None,
    ) -> Outcome:
        trial = Trial(scope="s" * 16, task=task, cut=cut, release=release, method=method, seed=0)
        artefact = ""
        if arrays is not None:
            artefact = trial.id
            (self.path / "artefacts").mkdir(parents=True, exist_ok=True)
            save_file(arrays, self.path / "artefacts" / f"{artefact}.safetensors")
        outcome = Outcome(
            trial=trial,
            status=Status.FAILED if reason else Status.DONE,
            environment=ENVIRONMENT,
            seconds=1.25,
            reason=reason,
            quantities=quantities or {},
            details=details or {},
            artefact=artefact,
        )
        self.outcomes.append(outcome)
        return outcome

    def attack(
        self,
        index: int | None,
        method: str,
        value: float,
        *,
        release: str = "Identity()",
        bound: float = 0,
    ) -> dict[str, Quantity]:
        error = max(1e-4, CLASS_FLOOR * (1 - value))
        quantities = {
            "leakage": share(max(0.0, value)),
            "mse": around(error, error * 0.05, "input² per pixel"),
            "psnr": around(-10 * np.log10(error), 0.2, "dB"),
            "ssim": around(0.1 + 0.85 * value, 0.01, ""),
            "validation_mse": around(error * 1.01, error * 0.05, "input² per pixel"),
        }
        if bound and index is not None:
            least = Quantity(
                value=bound,
                low=bound,
                high=float("inf"),
                unit="input² per pixel",
                kind=Kind.CONFIDENCE,
                direction=Direction.LOWER,
                n=400,
                assumptions=("galleries are drawn from the images' law",),
            )
            self.add(
                Task.BOUND,
                self.cut_id(index),
                "genie_bound()",
                release=release,
                quantities={"mse_bound": least},
            )
        arrays = None
        if self.images:
            made = gaussian_filter(
                pictures().astype(float), (0, 0, *(2 * [5 * (1 - max(0, value)) ** 1.5]))
            )
            arrays = {"reconstructions": made.astype(np.uint8), "mse_test": np.full(500, error)}
        self.add(
            Task.ATTACK,
            "*" if index is None else self.cut_id(index),
            method,
            release=release,
            quantities=quantities,
            arrays=arrays,
        )
        return quantities

    def find(self, index: int, method: str, q: dict[str, Quantity], release: str) -> None:
        self.findings.append(
            {
                "cut": self.cut_id(index),
                "release": release,
                "quantity": q["leakage"].to_json(),
                "attack": method,
                "attacks": 3,
                "psnr": q["psnr"].to_json(),
                "mse": q["mse"].to_json(),
            }
        )

    def fill(self) -> "Builder":
        """An audit as the default budget runs it."""
        self.add(Task.UTILITY, "*", "accuracy()", quantities={"accuracy": share(0.918, 0.011)})
        cuts = {}
        for i in range(self.cuts):
            t = (i + 1) / self.cuts
            cuts[self.cut_id(i)] = {
                "radius": around(4e4 * 0.6**i + 3, 1, "feature² per image", Kind.PROXY).to_json(),
                "nc1": around(30 * 0.8**i, 0.001, "", Kind.PROXY).to_json(),
                "rho": around(0.95 - 0.6 * t**2, 0.01, "share", Kind.PROXY).to_json(),
            }
        self.add(Task.MOMENTS, "*", "moments()", details={"cuts": cuts})
        self.attack(None, "MeanImage()", -0.5)
        if self.labels:
            self.attack(None, "ClassMean()", 0.0)
        for i in range(self.cuts):
            t = (i + 1) / self.cuts
            self.attack(i, "NearestAuxiliary(gallery=2000)", 0.12 * (1 - t))
            ridge = 0.999 - 0.8 * t**1.4
            results = {"Ridge()": ridge} if i % 2 == 0 or self.cuts < 3 else {}
            results["PatchRidge()"] = max(0.02, 0.995 - 1.25 * t)
            if i % 5 == 0:
                results["Decoder(epochs=4)"] = 0.97 - 0.6 * t**1.4
            done = {m: self.attack(i, m, v) for m, v in results.items()}
            best = max(results, key=lambda m: results[m])
            self.find(i, best, done[best], "Identity()")
        for i in sorted({0, self.cuts // 2}):
            q = self.attack(i, "Ridge()", 0.28 - 0.1 * i / self.cuts, release=NOISE, bound=0.0191)
            self.find(i, "Ridge()", q, NOISE)
            self.add(
                Task.UTILITY,
                self.cut_id(i),
                "accuracy()",
                release=NOISE,
                quantities={"accuracy": share(0.84, 0.015)},
            )
        self.add(
            Task.ATTACK,
            self.cut_id(self.cuts - 1),
            "Decoder(epochs=12)",
            reason="WorkerLost: the worker was killed, most often for want of memory: fewer jobs",
        )
        head = self.findings[0]
        self.summary = {
            "complete": True,
            "verdict": (
                f"RECOVERED. At cut {self.cut_names(0)} a white-box attacker who knows each "
                f"image's label recovered L = {Quantity.from_json(head['quantity'])} of what "
                "distinguishes an image from others of its class. Best of 3 attacks, not a limit."
            ),
            "leakage": self.findings,
            "headline": 0,
            "not_attacked": [
                {
                    "cut": self.cut_id(i),
                    "release": "Identity()",
                    "method": "Decoder(epochs=4)",
                    "reason": "budget: 5 depth-spaced cuts",
                }
                for i in range(self.cuts)
                if i % 5
            ],
            "failures": [],
            "not_tested": ["attacks that optimise each image", "shifted auxiliary images"],
            "utility": {},
        }
        return self

    def manifest(self) -> dict[str, Any]:
        return {
            "splitveil": "0.1.0",
            "demo": self.demo,
            "started": "2026-11-21T14:57:17+00:00",
            "scope": "s" * 16,
            "model": {
                "name": self.model,
                "digest": "ab" * 32,
                "parameters": 1_234_567,
                "classes": 10,
                "channels": 1,
                "size": [32, 32],
                "mean": [0.286],
                "std": [0.353],
                "tracer": "fx",
                "trainable": True,
                "notes": [],
            },
            "data": {
                "name": "Fashion-MNIST subset",
                "licence": "MIT",
                "digest": "cd" * 32,
                "auxiliary": 2000,
                "validation": 500,
                "test": 500,
                "class_names": ["T-shirt", "trouser", "pullover"] if self.labels else [],
                "conversions": ["28x28 padded to 32x32"],
                "duplicates": {"pairs": 3},
            },
            "threat": {
                "knowledge": "white-box",
                "auxiliary": "same distribution",
                "knows_label": self.labels,
                "knows_defence": True,
                "queries": None,
                "server": "honest but curious",
                "goal": "pixels",
                "sends": 1,
            },
            "plan": {
                "budget": "3m",
                "seconds": 130.0,
                "seed": 0,
                "jobs": 2,
                "releases": [NOISE],
                "attacks": [],
                "device": "cpu",
            },
            "cuts": [self.cost(i) for i in range(self.cuts)],
            "environment": {"python": "3.11.9", "torch": "2.13.0", "platform": "Linux"},
        }

    def write(self) -> Path:
        """Write the folder and return its path."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "artefacts").mkdir(exist_ok=True)
        (self.path / "manifest.json").write_text(json.dumps(self.manifest()))
        lines = [json.dumps(o.to_json()) + "\n" for o in self.outcomes]
        (self.path / "records.jsonl").write_text("".join(lines))
        (self.path / "splitveil.toml").write_text('budget = "3m"\nseed = 0\n')
        if self.finished:
            (self.path / "summary.json").write_text(json.dumps(self.summary))
        if self.images:
            codes = np.arange(16) % 3
            save_file(
                {"images": pictures(), "labels": codes},
                self.path / "artefacts" / "originals.safetensors",
            )
        return self.path
