"""From the generated to the offered text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.records import Task
from learner.trimming import LOOP_CHARS, trim, without_loop


@pytest.mark.parametrize(
    ("generated", "offered"),
    [
        ("Plain text.", "Plain text."),
        ("  \n Plain text. \n\n", "Plain text."),
        ("```\ncode\n```", "code"),
        ("```python\ndef f():\n    return 1\n```\n", "def f():\n    return 1"),
        ("```\nno end", "```\nno end"),
        ("```a\n1\n```\nand\n```b\n2\n```", "```a\n1\n```\nand\n```b\n2\n```"),
        ("Text with `code` in it", "Text with `code` in it"),
        ("Sure, here is the text:\n\nDear Kim,", "Dear Kim,"),
        ("Here's a shorter version:\nMeet on Monday.", "Meet on Monday."),
        ("Of course! A summary:\n\n- one\n- two", "- one\n- two"),
        ("Surely not: a word.", "Surely not: a word."),
        ("Here we go again, he said.", "Here we go again, he said."),
        ("Here is one: it stays, being the text itself.", "Here is one: it stays, being the text itself."),
        ("", ""),
        (" \n ", ""),
        ("```\n\n```", ""),
    ],
)
def test_fences_and_preambles_go(generated: str, offered: str) -> None:
    for task in (Task.REWRITE, Task.DRAFT):
        assert trim(generated, task) == offered


def test_a_completion_keeps_its_leading_white_space_and_its_fences() -> None:
    assert trim("    return 1\n\n", Task.COMPLETION) == "    return 1"
    assert trim("```\ncode\n```", Task.COMPLETION) == "```\ncode\n```"
    assert trim(" \n", Task.COMPLETION) == ""


@pytest.mark.parametrize(
    ("start", "unit", "times"),
    [("Then ", "no ", 100), ("", "=", 300), ("A. ", "I am happy to help you. ", 12), ("x\n", "- an item\n", 40)],
)
def test_a_loop_ends_after_its_first_round(start: str, unit: str, times: int) -> None:
    looped = start + unit * times
    assert without_loop(looped) == (start + unit).rstrip()
    cut = looped[: -(len(unit) // 2) or None]  # the token limit cut it in the middle of a round
    assert len(without_loop(cut)) <= len(start) + 2 * len(unit)


def test_a_long_paragraph_said_twice_is_a_loop() -> None:
    paragraph = (
        "This paragraph is more than a hundred characters long, so that saying it twice is a loop, not a style. "
    )
    assert without_loop(f"Start. {paragraph}{paragraph}") == f"Start. {paragraph}".rstrip()


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"- item {i}\n" for i in range(60)),
        "".join(f"def f{i}():\n    return {i}\n\n" for i in range(30)),
        "ha " * 20,
        "-" * (LOOP_CHARS - 1),
        "The end of this long text is no loop. " * 3,
    ],
)
def test_what_varies_or_is_short_is_no_loop(text: str) -> None:
    assert without_loop(text) == text


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "ab" * 50_000 + "c", "``` \n" * 20_000, "sure " * 20_000, "\n" * 100_000]
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    trim(text, Task.REWRITE)
    assert time.process_time() - started < 10


@given(st.text(alphabet="ab \n`:", max_size=400), st.sampled_from(list(Task)))
def test_what_is_offered_stands_in_what_was_generated(generated: str, task: Task) -> None:
    offered = trim(generated, task)
    assert offered in generated
    assert offered == offered.rstrip()
