"""A generator somebody else trained."""

from torch import nn

from splitveil.class_inversion.priors.base import Prior
from splitveil.errors import BadModel
from splitveil.naming import one_line, resolve
from splitveil.rng import Rng


def load_prior(reference: str, *, shape: tuple[int, int, int], classes: int | None = None) -> Prior:
    """The prior of `package.module:factory`, which is imported and called: executed.

    The factory returns a `Prior`, or a network with an attribute `latent`, the number of values of
    a latent, that maps standard normal latents to images in [0, 1]. Where the network has an
    attribute `classes`, it is given classes too; where it has a network `critic`, that is the
    prior's.

    Args:
        reference: where the factory is.
        shape: channels, height and width the model takes.
        classes: how many the model tells apart.

    Raises:
        BadModel: if it cannot be imported or called, draws images of another shape or outside
            [0, 1], or knows another number of classes.
    """
    seed = Rng(0, ("prior factory", reference))
    with seed.as_global():
        factory = resolve(reference, what="prior", error=BadModel)
    try:
        with seed.as_global():
            found = factory()
    except Exception as failure:
        raise BadModel(f"prior factory {reference}() failed: {one_line(failure)}") from failure
    if not isinstance(found, Prior):
        if not isinstance(found, nn.Module) or not isinstance(getattr(found, "latent", None), int):
            raise BadModel(
                f"prior factory {reference}() gave a {type(found).__name__}: return a Prior, or a "
                "torch.nn.Module with an attribute latent"
            )
        critic = getattr(found, "critic", None)
        known = getattr(found, "classes", None)
        found = Prior(
            name=reference,
            generator=found,
            latent=int(found.latent),  # type: ignore[arg-type]
            shape=shape,
            classes=known if isinstance(known, int) else None,
            critic=critic if isinstance(critic, nn.Module) else None,
            notes=(
                f"Loading the prior executed the Python code of {reference.partition(':')[0]}.",
            ),
        )
    found.verify(seed.child("check").torch())
    found.check(shape, found.classes or 0 if classes is None else classes)
    return found
