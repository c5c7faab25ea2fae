"""What a run says of itself: model, data, threat, plan, cuts and machine."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch

from splitveil.audit.outputs import channels
from splitveil.audit.plan import AuditPlan
from splitveil.audit.prepare import Prepared
from splitveil.audit.recipes import called


def joined(manifest: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of an audit that goes on in the folder of another of the same subject.

    It keeps when the first began, and every cut that one knew: a smaller audit adds to a larger
    one and takes nothing from it. Cuts stand in order of depth; what they cost is the newest known.
    """
    costs = {entry["cut"]["id"]: entry for entry in (*before.get("cuts", ()), *manifest["cuts"])}
    cuts = sorted(costs.values(), key=lambda entry: entry["cut"]["depth"])
    plan = dict(manifest["plan"])
    plan["cuts"] = list(all_cuts(plan["cuts"], before.get("plan", {}).get("cuts", plan["cuts"])))
    return {
        **manifest,
        "started": before.get("started", manifest["started"]),
        "plan": plan,
        "cuts": cuts,
    }


def all_cuts(now: Sequence[str], before: Sequence[str]) -> tuple[str, ...]:
    """The cuts of two plans together, none meaning the whole menu."""
    return tuple(dict.fromkeys((*before, *now))) if now and before else ()


def describe(prepared: Prepared) -> dict[str, Any]:
    """The manifest: everything a reader needs to know what was audited."""
    plan, splits, model = prepared.plan, prepared.splits, prepared.subject.model
    threat = plan.threat
    labelled = splits.test.y is not None
    return {
        "splitveil": prepared.environment.splitveil,
        "scope": prepared.scope,
        "demo": plan.is_demo and splits.name.startswith("Fashion-MNIST, bundled"),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": model.name,
            "digest": model.digest,
            "parameters": model.parameters,
            "classes": model.classes or len(splits.class_names),
            "channels": splits.channels,
            "size": list(splits.size),
            "mean": list(model.mean),
            "std": list(model.std),
            "reference": model.reference,
            "tracer": prepared.subject.traced.tracer,
            "trainable": prepared.subject.traced.trainable,
            "in_training_mode": sum(module.training for module in model.network.modules()),
            "notes": [*model.notes, *prepared.subject.traced.notes],
        },
        "data": {
            "name": splits.name,
            "licence": splits.licence,
            "digest": splits.digest,
            "auxiliary": len(splits.auxiliary),
            "validation": len(splits.validation),
            "test": len(splits.test),
            "class_names": list(splits.class_names),
            "conversions": list(splits.conversions),
            "duplicates": splits.duplicates.to_json(),
        },
        "threat": {
            "knowledge": "white-box",
            "auxiliary": f"{len(splits.auxiliary):,} images of the attacker's own",
            "knows_label": threat.knows_label and labelled,
            "knows_defence": threat.knows_defence,
            "queries": threat.queries,
            "server": "honest but curious",
            "goal": "rebuild the private image",
            "sends": 1,
        },
        "plan": plan_of(plan),
        "cuts": [cost.to_json() for cost in prepared.costs],
        "outputs": [channel.to_json() for channel in channels(prepared.output)],
        "environment": {
            **asdict(prepared.environment),
            "cores": os.cpu_count(),
            "torch_build": str(torch.version.git_version)[:12],
        },
    }


def plan_of(plan: AuditPlan) -> dict[str, Any]:
    """The settings that a reader asks for first."""
    return {
        "budget": plan.budget,
        "seconds": plan.limits.seconds if plan.budget != "full" else None,
        "seed": plan.seed,
        "jobs": plan.workers,
        "releases": list(plan.releases),
        "always_release": called(plan.always_release) if plan.always_release else None,
        "attacks": list(plan.attacks),
        "measures": list(plan.measures),
        "cuts": list(plan.cuts),
        "device": plan.device,
    }
