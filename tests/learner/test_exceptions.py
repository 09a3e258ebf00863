"""The tree at the top of exceptions.py is the tree."""

import inspect
import re

import pytest

from learner import exceptions
from learner.exceptions import ConfigError, RedraftError

CLASSES = [c for _, c in inspect.getmembers(exceptions, inspect.isclass) if issubclass(c, Exception)]


def drawn():
    """(name, parent) of each line of the drawing in the module's docstring."""
    parents = {}
    path = []
    for line in (exceptions.__doc__ or "").splitlines():
        match = re.match(r"^    ([│ ├└─]*)(\w+Error)\b", line)
        if match:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            parents[match[2]] = path[depth - 1] if depth else "Exception"
    return parents


def test_the_drawing_is_complete_and_true():
    assert drawn() == {c.__name__: c.__bases__[0].__name__ for c in CLASSES}


@pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.__name__)
def test_every_error_is_one_of_ours_with_words_and_a_failing_exit_code(error):
    assert issubclass(error, RedraftError)
    assert error.__doc__
    assert error.exit_code != 0
    assert str(error("a.toml: unknown key")) == "a.toml: unknown key"


def test_a_usage_error_exits_with_two():
    assert ConfigError.exit_code == 2
    assert RedraftError.exit_code == 1
