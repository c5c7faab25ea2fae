"""The tree drawn in the docstring is the tree of classes."""

import inspect
import re

import pytest

from splitveil import errors
from splitveil.errors import AuditError, BadInput, UnknownName


def _drawn() -> dict[str, str]:
    """Child to parent, read from indentation."""
    parents: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"[│├└─ ]*([A-Z]\w+)", line)
        if match is None or not hasattr(errors, match[1]):
            continue
        column, name = match.start(1), match[1]
        while stack and stack[-1][0] >= column:
            stack.pop()
        if stack:
            parents[name] = stack[-1][1]
        stack.append((column, name))
    return parents


def test_drawn_tree_is_the_tree_of_classes() -> None:
    classes = {
        name: cls
        for name, cls in vars(errors).items()
        if inspect.isclass(cls) and issubclass(cls, AuditError) and cls is not AuditError
    }
    assert {name: cls.__bases__[0].__name__ for name, cls in classes.items()} == _drawn()


def test_bad_input_is_also_a_value_error() -> None:
    assert issubclass(BadInput, ValueError)
    assert not issubclass(errors.WorkerLost, ValueError)


def test_every_error_says_what_it_means() -> None:
    for cls in vars(errors).values():
        if inspect.isclass(cls) and issubclass(cls, AuditError):
            assert cls.__doc__


def test_unknown_name_offers_the_nearest() -> None:
    assert "did you mean gaussian?" in str(UnknownName("release", "gausian", ["none", "gaussian"]))
    assert "known: a, b" in str(UnknownName("letter", "zzz", ["b", "a"]))
    assert str(UnknownName("thing", "x", [])).startswith("unknown thing 'x'")


@pytest.mark.parametrize("name", ["BadData", "BadModel", "BadPlan"])
def test_message_stays_one_line(name: str) -> None:
    assert str(getattr(errors, name)("expected 3, got 4: mend it")) == "expected 3, got 4: mend it"
