"""An attack on training data, as the parts it is made of."""

from dataclasses import dataclass, field

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.objective import Objective
from splitveil.class_inversion.priors.recipe import PriorRecipe
from splitveil.class_inversion.searches.base import Search
from splitveil.class_inversion.selections import Every
from splitveil.class_inversion.selections.base import Selection
from splitveil.class_inversion.starts.base import Start
from splitveil.class_inversion.students import Students
from splitveil.errors import BadPlan

_LEVELS: tuple[Level, ...] = ("label", "score", "white")


@dataclass(frozen=True, kw_only=True)
class ClassInversion:
    """prior, start, objective, search and selection; a recipe whose `repr` rebuilds it.

    Args:
        name: what it is called in records and reports.
        prior: what is trained on public images before the search, or stands in for a prior that is
            brought along.
        start: where the search begins, and how many restarts a class has.
        search: how latents are searched.
        objective: what it lowers; None for a search by labels.
        selection: which of the images found are reported.
        students: models of the attacker's own that the identity loss is averaged over.

    Raises:
        BadPlan: if a search that follows a gradient has no objective, or one by labels has one.
    """

    name: str
    prior: PriorRecipe
    start: Start
    search: Search
    objective: Objective | None = None
    selection: Selection = field(default_factory=Every)
    students: Students | None = None

    def __post_init__(self) -> None:
        if (self.search.level == "white") != (self.objective is not None):
            raise BadPlan(
                f"{self.name}: a search that follows a gradient needs an objective, and only that"
            )

    @property
    def level(self) -> Level:
        """The access that the search needs, with a prior at hand."""
        parts = [self.start.level, self.search.level, self.selection.level]
        if self.students is not None:
            parts.append("score")
        return max(parts, key=_LEVELS.index)
