"""C15, C16: the same attack on cartoon people, whose pictures tell who they are of too."""

from collections.abc import Sequence
from typing import ClassVar

from splitveil.class_inversion.presets import Constants
from splitveil.reproduce.claims import Reading
from splitveil.reproduce.experiment import Arm, Experiment, Scale
from splitveil.reproduce.tldmi import claims as c
from splitveil.reproduce.tldmi.attacked import Attacked, Judged, SharedPrior
from splitveil.reproduce.tldmi.findings import beside, experiment, over, reading
from splitveil.reproduce.tldmi.images import Identity
from splitveil.reproduce.tldmi.networks import Body, Network
from splitveil.reproduce.tldmi.table import Draws, Table

DEFENCES = {
    c.NONE: "no defence",
    c.CHOSEN: "first six frozen",
    c.LAST: "last two frozen",
    c.POSITIVE: "smoothing",
    c.NEGATIVE: "negative smoothing",
}


class PersonBody(Body):
    """As `Body`, on people."""

    kind: ClassVar[Identity] = "people"


class PersonNetwork(Network):
    """As `Network`, on people."""

    kind: ClassVar[Identity] = "people"
    bodies: ClassVar[type[Body]] = PersonBody


class PeopleJudged(Judged):
    """As `Judged`, on people."""

    kind: ClassVar[Identity] = "people"


class PeoplePrior(SharedPrior):
    """As `SharedPrior`, on people."""

    kind: ClassVar[Identity] = "people"


class PersonAttacked(Attacked):
    """As `Attacked`, on people."""

    networks: ClassVar[type[Network]] = PersonNetwork


class PeoplePublishedPrior(PeoplePrior):
    """As `PublishedPrior`, on people."""

    constants: ClassVar[Constants] = "paper"


class PersonPublishedAttacked(PersonAttacked):
    """As `PublishedAttacked`, on people."""

    constants: ClassVar[Constants] = "paper"


def people_attacked_by(scale: Scale) -> type[Attacked]:
    """As `attacked_by`, on people."""
    return PersonAttacked if scale.small else PersonPublishedAttacked


def people_frozen(scale: Scale) -> Experiment:
    """C15: freezing against none."""

    def read(table: Table) -> Sequence[Reading]:
        nets = {one: table.net(one, c.CHEAP) for one in (c.NONE, c.CHOSEN)}
        lost = table.accuracy(c.NONE) - table.accuracy(c.CHOSEN)
        return [
            reading(c.PEOPLE, 0, over(nets[c.CHOSEN], nets[c.NONE])),
            reading(c.PEOPLE, 1, lost, "share"),
            *(beside("net accuracy", one, net) for one, net in nets.items()),
            *(beside("named by the drawings", one, _named(table, one)) for one in nets),
            *(beside("accuracy", one, table.accuracy(one)) for one in nets),
        ]

    arms = _arms(scale, (c.NONE, c.CHOSEN))
    return experiment(c.PEOPLE, scale, arms, read, people_attacked_by)


def people_rivals(scale: Scale) -> Experiment:
    """C16: what on characters went against the papers."""

    def read(table: Table) -> Sequence[Reading]:
        nets = {one: table.net(one, c.CHEAP) for one in DEFENCES}
        return [
            reading(c.PEOPLE_RIVALS, 0, over(nets[c.POSITIVE], nets[c.NONE])),
            reading(c.PEOPLE_RIVALS, 1, over(nets[c.NEGATIVE], nets[c.NONE])),
            reading(c.PEOPLE_RIVALS, 2, over(nets[c.CHOSEN], nets[c.LAST])),
            *(beside("net accuracy", one, net) for one, net in nets.items()),
            *(beside("named by the drawings", one, _named(table, one)) for one in nets),
            *(beside("accuracy", one, table.accuracy(one)) for one in nets),
        ]

    return experiment(
        c.PEOPLE_RIVALS, scale, _arms(scale, tuple(DEFENCES)), read, people_attacked_by
    )


def _named(table: Table, defence: str) -> Draws:
    return table.share(defence, c.CHEAP, "oracle")


def _arms(scale: Scale, defences: Sequence[str]) -> list[Arm]:
    attacks = people_attacked_by(scale)
    found: list[Arm] = [PeopleJudged(), PeoplePrior() if scale.small else PeoplePublishedPrior()]
    for seed in range(scale.seeds):
        found.append(PersonBody(seed=seed))
        for defence in defences:
            found.append(PersonNetwork(defence=defence, seed=seed))
            found.append(attacks(defence=defence, attack=c.CHEAP, seed=seed))
    return found
