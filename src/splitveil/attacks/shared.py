"""Many trained inverses from one forward pass of the victim, and one groundwork a cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.attacks.evidence import BATCH, encode, targets
from splitveil.attacks.groundwork import Ground, Groundwork
from splitveil.attacks.inverse_network import Decoded, InverseNetwork
from splitveil.errors import BadInput
from splitveil.nets import evaluating
from splitveil.partition import Cut, Traced
from splitveil.rng import Rng
from splitveil.threat import WhiteBox

_MEMORY = 2 * 2**30


@dataclass(frozen=True, eq=False)
class Fitting:
    """An attack to be fitted at a cut: the same as `attack.fit(knowledge, rng)`."""

    cut: Cut
    attack: InverseNetwork
    knowledge: WhiteBox
    rng: Rng


def shared_decoders(
    fittings: Sequence[Fitting], traced: Traced, *, memory: int = _MEMORY
) -> Iterator[tuple[Fitting, Groundwork, Decoded]]:
    """Fit many attacks of one victim, its head run once for all cuts instead of once for each.

    Attackers that hold the same head and the same auxiliary images, at several cuts, would each
    run a prefix of the same network over the same images. Here features of as many cuts as fit
    into `memory` come from one pass (one more of mirrored images, where any attack asks for them);
    and attacks of one cut that agree on their groundwork and on their stream share one: evidence
    and both ridges are then had once, however many networks are trained on them.

    With F for the pass and G_k for what training k takes besides, K attacks cost F + sum G_k
    instead of K F + sum G_k. Results are those of `fit` with the same stream, to the last bits of
    the victim's arithmetic; in exchange for memory, 4 n f bytes a cut.

    Args:
        fittings: what to fit; all must have the same auxiliary targets.
        traced: the victim, of which the fittings' cuts are.
        memory: bytes that features held at a time may take; one cut at a time where they are more.

    Yields:
        Every fitting, its groundwork, whose `inversions` are the ridges fitted on the way, and the
        trained inverse, cut by cut.

    Raises:
        BadInput: if auxiliary targets differ, or a head is not that of its cut.
    """
    if not fittings:
        return
    x = _images(fittings)
    by_cut: dict[str, list[Fitting]] = {}
    for fitting in fittings:
        by_cut.setdefault(fitting.cut.id, []).append(fitting)
    for group in _groups(list(by_cut.values()), len(x), memory):
        flipped = [own[0].cut for own in group if any(one.attack.flips for one in own)]
        held = [shared_features(traced, [own[0].cut for own in group], x)]
        held.append(shared_features(traced, flipped, x.flip(-1) if flipped else x))
        for own in group:
            encoded = tuple(part.pop(own[0].cut.id) for part in held if own[0].cut.id in part)
            _check_head(own[0], x, encoded[0])
            for alike in _alike(own):
                attack = alike[0].attack
                views = encoded if attack.flips else encoded[:1]
                laid = Groundwork.lay(
                    attack, alike[0].knowledge, attack.ground, alike[0].rng, encoded=views
                )
                for fitting in alike:
                    yield fitting, laid, fitting.attack.learn(laid, fitting.knowledge, fitting.rng)


def shared_features(traced: Traced, cuts: Sequence[Cut], x: Tensor) -> dict[str, Tensor]:
    """What heads at several cuts give for `x`, from one pass: (n, f) by cut id."""
    if not cuts:
        return {}
    found: dict[str, Tensor] = {}
    with evaluating(traced.module), torch.no_grad():
        for start in range(0, len(x), BATCH):
            for name, rows in traced.stream(x[start : start + BATCH], cuts):
                if name not in found:
                    found[name] = rows.new_empty(len(x), rows.shape[1])
                found[name][start : start + BATCH] = rows
    parts = {cut.id: [found[name] for name in traced.tensors(cut)] for cut in cuts}
    return {key: own[0] if len(own) == 1 else torch.cat(own, 1) for key, own in parts.items()}


def _images(fittings: Sequence[Fitting]) -> Tensor:
    """The auxiliary targets of all fittings."""
    first = fittings[0]
    for fitting in fittings:
        if fitting.knowledge.auxiliary.x is not first.knowledge.auxiliary.x:
            raise BadInput(
                "shared training needs the same auxiliary images for every attack, got different "
                "tensors: give all attackers one"
            )
        if fitting.knowledge.layout != fitting.cut.layout:
            raise BadInput(
                f"knowledge of a cut that sends {fitting.knowledge.layout.size} values was given "
                f"for {fitting.cut.name}, which sends {fitting.cut.layout.size}"
            )
    found = targets(first.attack, first.knowledge)
    return found.x.unflatten(1, found.shape)


def _groups(cuts: list[list[Fitting]], images: int, memory: int) -> Iterator[list[list[Fitting]]]:
    """Runs of cuts whose features fit into `memory` together; at least one a run."""
    run: list[list[Fitting]] = []
    taken = 0
    for own in cuts:
        views = 2 if any(one.attack.flips for one in own) else 1
        needed = 4 * images * own[0].cut.layout.size * views
        if run and taken + needed > memory:
            yield run
            run, taken = [], 0
        run.append(own)
        taken += needed
    yield run


def _alike(fittings: Sequence[Fitting]) -> list[list[Fitting]]:
    """Fittings of one cut that can share their groundwork."""
    found: dict[tuple[int, Rng, Ground], list[Fitting]] = {}
    for one in fittings:
        found.setdefault((id(one.knowledge), one.rng, one.attack.ground), []).append(one)
    return list(found.values())


def _check_head(fitting: Fitting, x: Tensor, z: Tensor) -> None:
    own = encode(fitting.knowledge, x[:2])
    if own.shape != z[:2].shape or not torch.allclose(own, z[:2], rtol=1e-3, atol=1e-5):
        raise BadInput(
            f"the head at {fitting.cut.name} is not that of the network given: trace the network "
            "the attackers hold"
        )
