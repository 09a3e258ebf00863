"""The demo's parts: the writer's habit and keystrokes, the texts, regret, the picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner import documents
from learner.commands import demonstration
from learner.cost import tokens
from learner.demo import picture, story
from learner.demo.writer import CLOSING, TITLE, habit, keystrokes
from learner.documents import FEWEST_WORDS, MOST_WORDS
from learner.holdout import marks
from learner.privacy import secret_in
from learner.records import Task

PIECES = st.sampled_from(
    ["The text is ", "it rains", ". ", "! ", "\n", "- ", "1. ", "• ", "  ", TITLE, CLOSING, "A b", "Übel", ", ", "(x)"]
)  # fmt: skip
ANSWERS = st.lists(PIECES, min_size=1, max_size=25).map("".join).filter(str.strip)


def apply(before: str, after: str) -> str:
    """`before` after the keystrokes, typed one after the other."""
    text = before
    for key in keystrokes(before, after):
        assert 0 <= key.start <= key.end <= len(text)
        text = text[: key.start] + key.text + text[key.end :]
    return text


@given(ANSWERS)
def test_the_habit_is_idempotent_and_pure(text: str) -> None:
    kept = habit(text)
    assert habit(text) == kept
    assert habit(kept) == kept


@given(st.text(min_size=1).filter(str.strip))
def test_the_habit_takes_any_text(text: str) -> None:
    assert habit(habit(text)) == habit(text)


@given(ANSWERS)
def test_what_the_writer_keeps(text: str) -> None:
    first, *bullets, last = habit(text).split("\n")
    assert (first, last) == (TITLE, CLOSING)
    assert all(b.startswith("- ") for b in bullets)
    assert len(set(bullets)) == len(bullets)


def test_the_habit_by_example() -> None:
    answer = "1. bees fly. They use wings. They use wings.\n- It is fun! And the"
    assert habit(answer) == f"In short:\n- Bees fly.\n- They use wings.\n- It is fun!\n{CLOSING}"
    assert habit("no end here,") == f"In short:\n- No end here.\n{CLOSING}"
    assert habit(f"Bees fly.\nThey use wings\n{CLOSING}") == f"In short:\n- Bees fly.\n- They use wings.\n{CLOSING}"
    assert habit("- In short: Bees (they fly)\n- Wings.)") == f"In short:\n- Bees (they fly).\n- Wings.)\n{CLOSING}"


@given(st.one_of(ANSWERS, st.text()), st.one_of(ANSWERS, st.text()))
def test_keystrokes_turn_one_text_into_the_other(before: str, after: str) -> None:
    assert apply(before, after) == after


def test_a_text_that_is_right_is_not_touched() -> None:
    assert list(keystrokes("In short:\n- A.\n", "In short:\n- A.\n")) == []


def test_what_stays_is_not_typed_again() -> None:
    [key] = keystrokes("We met on Monday at noon.", "We met on Friday at noon.")
    assert (key.start, key.end, key.text) == (9, 16, " Friday")  # a token has the blank before it


@given(st.lists(st.sampled_from(["red", "sea", "old", "far"]), min_size=1, max_size=8).map(" ".join))
def test_at_the_ends_the_word_beside_is_typed_again(body: str) -> None:
    """Else what is put before and after the answer would be no part of it."""
    changes = list(keystrokes(body, f"New: {body} End."))
    assert changes[0].end == len(body)
    assert changes[-1].start == 0
    assert all(key.end > key.start for key in (changes[0], changes[-1]))
    assert changes[-1].end <= len(tokens(body)[0]) or len(changes) == 1
    assert apply(body, f"New: {body} End.") == f"New: {body} End."


def test_this_machine_has_texts_enough() -> None:
    count = 120
    found = documents.find(count)
    assert len(found) == count
    assert len({t.body for t in found}) == count
    own = [set(marks(t.body)) for t in found]
    assert sum(map(len, own)) == len(set().union(*own))  # no two are near-duplicates
    for text in found:
        assert FEWEST_WORDS <= len(text.body.split(" ")) <= MOST_WORDS
        assert text.body.isascii()
        assert "\n" not in text.body
        assert text.body[-1] in ".!?"
        assert secret_in(text.body) is None


def test_too_few_texts_are_said() -> None:
    with pytest.raises(LookupError, match="need 1000000"):
        documents.find(1_000_000)


def test_only_prose_is_a_paragraph() -> None:
    prose = " ".join(["Bees fly far over the wide meadow today."] * 5)
    assert list(documents.paragraphs(f"short one.\n\n{prose}\n\n* {prose}\n\n{prose[:-1]}\n\n`x` {prose}")) == [prose]
    assert list(documents.paragraphs(prose.replace("today. ", "today.\n", 2))) == [prose]


def rounds(costs: dict[int, tuple[str, float]]) -> list[story.Round]:
    return [story.Round(n, f"file:///{n}.md", arm, cost, cost == 0) for n, (arm, cost) in costs.items()]


def test_regret_by_hand() -> None:
    """The last third are rounds 4 and 5: base 0.6, sft 0.1, the bandit 0.2."""
    chosen = rounds(dict.fromkeys(range(4), ("base", 0.9)) | {4: ("sft", 0.0), 5: ("dpo", 0.4)})
    costs = {
        "base": {3: 0, 4: 0.5, 5: 0.7},
        "sft": {3: 1, 4: 0.0, 5: 0.2},
        "dpo": {3: 0, 4: 0.6, 5: 0.4},
    }
    assert story.regret(chosen, costs) == pytest.approx((0.2 - 0.1) / (0.6 - 0.1))


def test_no_regret_where_nothing_beats_the_base() -> None:
    chosen = rounds(dict.fromkeys(range(3), ("sft", 0.5)))
    assert story.regret(chosen, {"base": dict.fromkeys(range(3), 0.2), "sft": dict.fromkeys(range(3), 0.5)}) == 0


def test_drafts_and_rewrites_take_turns() -> None:
    assert [story.asked_for(i) for i in range(4)] == [Task.DRAFT, Task.REWRITE, Task.DRAFT, Task.REWRITE]


def an_outcome() -> story.Outcome:
    arms = ["sft", "early_ensemble", "dpo", "rl", "base"]
    before = rounds({i: ("base", 0.25 + (i * 37 % 23) / 60) for i in range(56)})
    after = rounds({i: (arms[i * i * 7 % max(2, 5 - i // 12)], (i * 13 % 7) / 40 * (i < 40)) for i in range(60)})
    means = {"base": 0.43, "sft": 0.006, "early_ensemble": 0.012, "dpo": 0.11, "rl": 0.21}
    untouched = {"base": 0.0, "sft": 0.93, "early_ensemble": 0.9, "dpo": 0.4, "rl": 0.1}
    return story.Outcome(before, after, means, untouched, 0.08, 700.0)


def test_the_picture(tmp_path: Path) -> None:
    png, svg = picture.draw(an_outcome(), tmp_path / "cost")
    assert (png.name, svg.name) == ("cost.png", "cost.svg")
    head = png.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert int.from_bytes(head[16:20]) > 1000
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")
    first = svg.read_bytes()
    picture.draw(an_outcome(), tmp_path / "cost")
    assert svg.read_bytes() == first


def test_the_running_mean_by_hand() -> None:
    made = rounds({i: ("base", float(i)) for i in range(10)})
    assert picture.running_mean(made)[:3] == [0, 0.5, 1]
    assert picture.running_mean(made)[9] == (2 + 9) / 2


def test_an_arm_that_no_picture_knows_has_a_colour_of_its_own() -> None:
    made = picture.colours(["base", "salt", "sft", "pepper"])
    assert len(set(made.values())) == 4


def test_the_summary_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    demonstration.summary(an_outcome(), [Path("build/demo/cost.png")], Path("build/demo"))
    shown = capsys.readouterr().out
    assert "before training" in shown
    assert "Regret in the last third: 0.080" in shown
    assert "Picture: build/demo/cost.png" in shown
    assert shown.index("sft") < shown.index("early_ensemble")  # the best first
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


def test_the_public_keys() -> None:
    assert list(an_outcome().to_json()) == ["edit_cost", "untouched", "regret_last_third", "seconds"]
