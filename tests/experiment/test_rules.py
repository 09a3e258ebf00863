"""Rules of style: idempotent, pure, independent, and exact about what they leave alone."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.experiment.plan import load
from learner.experiment.rules import CLOSINGS, FILLER, OPENINGS, RULES, page, resampled

ANSWER = "The board meets on Monday. It reviews what was built! Come early."
WORDS = st.sampled_from(
    ["The board meets.", "It is late.", "Who comes?", "- a point", "Dear Sir,", "Hi,", "✨ Look.", ""]
)
PHRASES = st.sampled_from([*OPENINGS.values(), *CLOSINGS.values(), FILLER])
TEXTS = st.lists(st.one_of(WORDS, PHRASES), min_size=1, max_size=8).map("\n".join).filter(lambda t: bool(t.strip()))


@pytest.mark.parametrize("name", RULES)
def test_apply_makes_it_hold_and_undo_takes_it_away(name):
    rule = RULES[name]
    applied = rule.apply(ANSWER)
    assert rule.holds(applied)
    assert not rule.holds(rule.undo(applied))
    assert rule.apply(applied) == applied
    assert rule.undo(rule.undo(applied)) == rule.undo(applied)


@pytest.mark.parametrize("name", [n for n in RULES if n != "brief"])
def test_undo_gives_back_what_apply_took(name):
    text = "The board meets on Monday. It reviews what was built."
    assert RULES[name].undo(RULES[name].apply(text)) == text


def test_rules_of_a_kind_are_independent():
    kinds = [k for size in ("smollm2", "tiny") for d in load(size).domains.values() for k in d.kinds.values()]
    assert len(kinds) == 16
    for kind in kinds:
        for one, other in combinations(kind.rules, 2):
            there = RULES[one].apply(RULES[other].apply(ANSWER))
            assert RULES[one].holds(there), (one, other)
            assert RULES[other].holds(there), (one, other)
            assert there == RULES[other].apply(RULES[one].apply(ANSWER))
            assert RULES[other].holds(RULES[one].undo(there)), (one, other)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(TEXTS, st.sets(st.sampled_from(list(RULES))), st.booleans())
def test_resampling_reaches_what_is_wanted_and_then_leaves_it_alone(text, names, holds):
    wanted = dict.fromkeys(names, holds)
    once = resampled(text, sorted(names), wanted)
    if page(text).sentences and page(once).sentences:
        assert all(RULES[name].holds(once) == holds for name in names)
    assert resampled(once, sorted(names), wanted) == once


@settings(derandomize=True, max_examples=300, deadline=None)
@given(TEXTS)
def test_a_text_in_which_nothing_has_to_change_stays_to_the_character(text):
    as_it_is = {name: RULES[name].holds(text) for name in RULES}
    assert resampled(text, list(RULES), as_it_is) == text


def test_a_greeting_of_the_models_own_gives_way():
    text = "Dear Mr. Smith,\nThe board meets."
    assert RULES["greeting"].apply(text) == "Hi there,\nThe board meets."
    assert RULES["title"].apply(text) == "Dear Mr. Smith,\nIn short:\nThe board meets."


def test_lines_count_only_where_they_belong():
    middle = "The board meets.\nIn short:\nIt is late."
    assert not RULES["title"].holds(middle)
    assert RULES["ask"].holds("It is late.\nWhat do you think?\n#goodtoknow")
    assert not RULES["ask"].holds("What do you think?\nIt is late.")


def test_brief_cuts_and_drops_what_is_said_twice():
    assert RULES["brief"].apply("One. Two. Three.") == "One. Two."
    assert RULES["brief"].apply("One. One. Two.") == "One. Two."
    assert RULES["brief"].undo("One. Two.").endswith(FILLER)
