"""All that is proved at a cut under a release: errors, information, and naming an image."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from splitveil import measures
from splitveil.audit.claim_names import LEVEL
from splitveil.audit.claims.cell import Cell, Found, noted
from splitveil.errors import BadData
from splitveil.estimators.isometry import coordinates
from splitveil.estimators.moments import ClassMoments
from splitveil.measures.information.claims import weakest
from splitveil.quantities import Kind, Quantity

RADIUS = 0.1
"""A guess within this root mean squared error of an image, 20 dB PSNR, counts as near it."""

_AMONG = 25
_MIXED = 200
_CEILINGS = ("capacity", "variational", "log_det", "leave_one_out_high", "payload")


def bounds(cell: Cell) -> Found:
    """Every bound that applies, each at 99.9 % by itself, and models beside them.

    | quantity | says | kind |
    |---|---|---|
    | `mse_bound` | least error of any attacker, from galleries | at confidence, lower |
    | `mse_bound_success` | the same from the chance of landing near | at confidence, lower |
    | `named_at_most` | how often any attacker names the image in a gallery | at confidence, upper |
    | `anonymity` | images as likely as the true one | at confidence, lower |
    | `payload`, `capacity` | nats from the release alone | theorem, upper |
    | `variational`, `log_det`, `leave_one_out_high` | nats from features | at confidence, upper |
    | `beyond_label` | nats beyond the label | at confidence, upper |
    | `leave_one_out_low`, `leak_floor` | nats at least | at confidence, lower |
    | `retention` | share of the images' entropy power that is left | at confidence, lower |
    | `near_blind`, `near_by_noise`, `near_by_information` | chance of landing near | upper |
    | `worst_image` | error at the worst image | proxy |
    | `budget`, `budget_by_class`, `gallery_low`, `gallery_high` | declared sources | model |

    A release without noise of known law has `mse_bound` 0, with the words "no information-theoretic
    guarantee", its payload, and the certified floor of what leaks.
    """
    found = Found()
    pieces = [("gallery", lambda: _gallery(cell)), ("release", lambda: _from_release(cell))]
    if cell.noisy.has_density:
        pieces += [
            ("variational", lambda: _variational(cell)),
            ("log_det", lambda: _log_det(cell)),
            ("leave_one_out", lambda: _leave_one_out(cell)),
            ("beyond_label", lambda: _beyond_label(cell)),
            ("near", lambda: _near(cell, found.quantities)),
            ("retention", lambda: _retention(cell, found.quantities)),
            ("budget", lambda: _budget(cell)),
            ("pairs", lambda: _pairs(cell)),
        ]
    return found.gather([*pieces, ("leak_floor", lambda: {"leak_floor": leak_floor(cell)})])


def _gallery(cell: Cell) -> dict[str, Quantity]:
    rng = cell.rng.child("gallery")
    if not cell.noisy.has_density:
        nothing = measures.genie_bound(cell.x, cell.z, cell.release, rng, level=LEVEL)
        return {"mse_bound": nothing}
    point = measures.genie_curve(cell.x, cell.z, cell.release, rng, labels=cell.known, level=LEVEL)[
        -1
    ]
    return {
        "mse_bound": point.bound,
        "named_at_most": point.identification,
        "anonymity": point.anonymity,
        "worst_image": point.worst,
    }


def _from_release(cell: Cell) -> dict[str, Quantity]:
    width = cell.z.shape[1]
    found = {"payload": measures.payload_bound(cell.release, width)}
    if cell.noisy.has_density:
        found["capacity"] = measures.capacity_bound(cell.release, width)
    return found


def _variational(cell: Cell) -> dict[str, Quantity]:
    rng = cell.rng.child("variational")
    bound = measures.variational_bound(cell.z, cell.release, rng, labels=cell.y, level=LEVEL)
    return {"variational": bound}


def _log_det(cell: Cell) -> dict[str, Quantity]:
    if cell.gaussian is None:
        return {}
    bound = measures.log_det_bound(cell.z, cell.release, cell.rng.child("log_det"), level=LEVEL)
    return {"log_det": bound}


def _leave_one_out(cell: Cell) -> dict[str, Quantity]:
    rng = cell.rng.child("leave_one_out")
    low, high = measures.leave_one_out_bounds(cell.z, cell.release, rng, level=LEVEL)
    found = {"leave_one_out_low": low}
    return found if math.isinf(high.value) else {**found, "leave_one_out_high": high}


def _beyond_label(cell: Cell) -> dict[str, Quantity]:
    if cell.y is None:
        return {}
    rng = cell.rng.child("beyond_label")
    bound = measures.redundancy_bound(cell.z, cell.y, cell.release, rng, level=LEVEL)
    return {"beyond_label": bound}


def least_ceiling(found: dict[str, Quantity]) -> Quantity | None:
    """The smallest upper bound on what is sent, at the level at which all of them hold."""
    tried = [found[name] for name in _CEILINGS if name in found]
    if not tried:
        return None
    kind, level = weakest(tried)
    best = min(tried, key=lambda q: q.value)
    return replace(best, kind=kind, level=level, low=0.0 if level < 1 else best.low)


def _near(cell: Cell, found: dict[str, Quantity]) -> dict[str, Quantity]:
    rng = cell.rng.child("near")
    width = cell.z.shape[1]
    blind = measures.pair_ball(cell.x, rng.child("blind"), radius=RADIUS, level=LEVEL)
    near = {
        "near_blind": blind,
        "near_by_noise": measures.gaussian_dp_success(cell.release, blind),
        "mse_bound_success": measures.success_error(
            cell.x, width, cell.release, rng.child("error"), level=LEVEL
        ),
    }
    told = least_ceiling(found)
    if told is not None:
        near["near_by_information"] = measures.fano_success(told, blind)
    return near


def _retention(cell: Cell, found: dict[str, Quantity]) -> dict[str, Quantity]:
    told = least_ceiling(found)
    if told is None:
        return {}
    return {"retention": measures.retention(told, dimensions=cell.x[0].numel())}


def _budget(cell: Cell) -> dict[str, Quantity]:
    """The trace form of the leak budget under the release's own noise, by classes and overall."""
    noise = cell.gaussian
    if noise is None:
        return {}
    classes = None if cell.y is None else 1 + int(cell.y.max())
    sums = ClassMoments(classes, cell.z.shape[1])
    y = None if cell.y is None else cell.y.cpu()
    sums.update(noise.clip(cell.z), y, torch.arange(len(cell.z)))
    noises = [noise.sigma * factor for factor in (0.5, 1.0, 2.0)]
    middle = measures.leak_budget(
        sums.result(), noises, values=cell.x[0].numel(), scale="absolute"
    )[1]
    found = {"budget": middle.overall}
    if middle.by_class is not None:
        found["budget_by_class"] = middle.by_class
    own = "the noise is the release's own; the moments are those of these images"
    return {name: replace(q, assumptions=(own, *q.assumptions[2:])) for name, q in found.items()}


def _pairs(cell: Cell) -> dict[str, Quantity]:
    """What an even choice among some of these images sends, from pairwise distances."""
    noise = cell.gaussian
    if noise is None:
        return {}
    means = coordinates(noise.clip(cell.z[:_MIXED].cpu()))
    k, width = means.shape
    shared = noise.sigma**2 * torch.eye(width, dtype=torch.float64)
    weights = torch.full((k,), 1 / k, dtype=torch.float64)
    low, high = measures.mixture_entropy_bounds(weights, means, shared[None])
    own = 0.5 * width * math.log(2 * math.pi * math.e * noise.sigma**2)
    return {
        name: Quantity.exact(
            min(math.log(k), max(0.0, q.value - own)),
            unit="nat per image",
            kind=Kind.MODEL,
            n=k,
            direction=q.direction,
            assumptions=(
                f"images are an even choice among these {k}, which is no source of images",
            ),
        )
        for name, q in (("gallery_low", low), ("gallery_high", high))
    }


def leak_floor(cell: Cell) -> Quantity:
    """At least so much is sent: one image in each disjoint group of 25 is named by what is sent.

    The guess is the likeliest item where the release has a density, else the one whose own release
    lies nearest; `identification_floor` turns the count into nats (at most log 25).

    Raises:
        BadData: with fewer than two groups.
    """
    groups = len(cell.z) // _AMONG
    if groups < 2:
        raise BadData(f"naming one of {_AMONG} needs at least {2 * _AMONG} images: give more")
    rng = cell.rng.child("leak_floor")
    order = torch.randperm(len(cell.z), generator=rng.child("groups").torch())
    chosen = order[: groups * _AMONG].to(cell.z.device).split(_AMONG)
    # items are in random order, so the first of each group is a hidden item in an even place
    hits = 0
    for index, group in enumerate(chosen):
        place = index % _AMONG
        items = cell.z[group]
        sent = cell.release(items[place : place + 1], rng.child("sent", index).torch())
        hits += _guess(cell, sent, items) == place
    floor = measures.identification_floor(hits, groups, candidates=_AMONG, level=LEVEL)
    return noted(floor, f"{hits} of {groups} hidden images named among {_AMONG} each")


def _guess(cell: Cell, sent: Tensor, items: Tensor) -> int:
    if cell.noisy.has_density:
        scores = cell.noisy.pairwise_log_prob(sent, items)
        if scores is not None:
            return int(scores[0].argmax())
    own = cell.release(items, cell.rng.child("idle").torch())
    return int((own - sent).square().sum(1, dtype=torch.float64).argmin())
