"""From a request to what the model is asked: prompts, limits, secrets."""

from dataclasses import replace

import pytest

from learner.exceptions import PrivacyError, RedraftError
from learner.prompt import DRAFT_KINDS
from learner.records import Task
from lsp_server import offers

SECRET = "ghp_" + "a1B2" * 9
PLACE = offers.Place("file:///w/a.md", "markdown", "w", 3, (0, 0, 1, 0))


def rewrite(text: str, instruction: str = " Shorter. ", uri: str = "file:///w/a.md") -> offers.Ask:
    return offers.rewrite(replace(PLACE, uri=uri), text, instruction)


def draft(notes: str, kind: str = "summary") -> offers.Ask:
    return offers.draft(PLACE, notes, kind)


def completion(before: str, line: str) -> offers.Ask:
    return offers.completion(replace(PLACE, language="python"), before, line)


def test_rewrite() -> None:
    ask = rewrite("One.\r\nTwo.\rThree.")
    assert (ask.task, ask.place, ask.instruction) == (Task.REWRITE, PLACE, "Shorter.")
    assert ask.prompt.messages[1].content == "Shorter.\n\nOne.\nTwo.\nThree."
    assert ask.prompt.prefill == ""


@pytest.mark.parametrize(("length", "tokens"), [(1, 64), (300, 264), (9000, 1000)])
def test_the_longest_answer_follows_the_text(length: int, tokens: int) -> None:
    assert rewrite("a" * length).max_tokens == tokens


@pytest.mark.parametrize("kind", DRAFT_KINDS)
def test_draft(kind: str) -> None:
    ask = draft("notes", kind)
    assert ask.prompt.messages[1].content == f"{DRAFT_KINDS[kind]}\n\nnotes"
    assert (ask.task, ask.instruction) == (Task.DRAFT, DRAFT_KINDS[kind])


def test_what_is_refused() -> None:
    with pytest.raises(RedraftError, match="9,001 characters and the model can take 9,000"):
        rewrite("a" * 9001)
    with pytest.raises(RedraftError, match="the selection is empty"):
        rewrite(" \n")
    with pytest.raises(RedraftError, match="the instruction is empty"):
        rewrite("a", " ")
    with pytest.raises(
        RedraftError, match="unknown kind of draft 'poem'; there are: summary, email, docstring, commit"
    ):
        draft("a", "poem")
    for make in (lambda: rewrite(f"x {SECRET}"), lambda: draft(SECRET), lambda: rewrite("a", SECRET)):
        with pytest.raises(PrivacyError, match="holds what looks like"):
            make()
    with pytest.raises(PrivacyError, match="is a file of a kind that holds secrets"):
        rewrite("a", uri="file:///w/.env")


def test_completion_shows_the_indentation_before_the_prefill() -> None:
    ask = completion("def f():\r\n", "\t  return x")
    assert ask.prompt.prefill == "return x"
    assert ask.prompt.messages[1].content.endswith("\n\ndef f():\n\t  ")
    assert completion("a\n", "    ").prompt.prefill == ""


def test_completion_blacks_secrets_out() -> None:
    ask = completion(f"key = '{SECRET}'\n", f"use({SECRET}")
    assert SECRET not in ask.prompt.to_json()
    assert ask.prompt.prefill.startswith("use(***")


def test_half_a_surrogate_pair_is_readable() -> None:
    assert offers.readable("a\ud83db\r\nc\udead") == "a\ufffdb\nc\ufffd"
    assert offers.readable("😀") == "😀"
    assert draft("a\ud83d").prompt.messages[1].content.endswith("a\ufffd")
