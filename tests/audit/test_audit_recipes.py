import pytest

from splitveil.attacks import MeanImage, NearestAuxiliary, Ridge
from splitveil.audit.recipes import read_attack, read_release
from splitveil.errors import BadInput, BadPlan, UnknownName
from splitveil.release import Chain, GaussianNoise, Identity, UniformQuantiser


@pytest.mark.parametrize(
    "attack", [Ridge(), Ridge(samples=77), MeanImage(), NearestAuxiliary(samples=9)], ids=repr
)
def test_an_attack_reads_back_as_it_prints(attack: object) -> None:
    assert read_attack(repr(attack)) == (repr(attack), attack)


def test_a_bare_name_takes_defaults_and_third_parties_keep_their_module() -> None:
    assert read_attack("Ridge") == (repr(Ridge()), Ridge())
    text, attack = read_attack("splitveil.attacks.ridge:Ridge(samples=5)")
    assert text == "splitveil.attacks.ridge:Ridge(samples=5)"
    assert read_attack(text) == (text, attack)


@pytest.mark.parametrize(
    "recipe",
    [
        Identity(),
        GaussianNoise(sigma=0.5),
        GaussianNoise(sigma=1e-3, clip=0.5, scale="absolute"),
        Chain((GaussianNoise(sigma=0.5), UniformQuantiser(bits=4))),
    ],
    ids=str,
)
def test_a_release_reads_back_as_it_prints_and_as_people_write_it(recipe: object) -> None:
    assert read_release(repr(recipe)) == recipe
    assert read_release(str(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Rigde()", "did you mean Ridge"),
        ("Ridge(sample=3)", "did you mean samples"),
        ("Ridge(3)", "name each setting"),
        ("Ridge(**{})", "name each setting"),
        ("Ridge(samples=open('x'))", "unknown attack 'open'"),
        ("Ridge(samples=1+x)", "plain numbers"),
        ("Ridge(", "cannot read attack"),
        ("Ridge(samples=1)", "at least 2"),
        ("no.such.module:Name()", "no module"),
        ("builtins:dict()", "is no attack"),
    ],
)
def test_unreadable_attacks(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_attack(text)
    assert message in str(caught.value)
    assert isinstance(caught.value, (BadPlan, UnknownName))
