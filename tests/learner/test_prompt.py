"""The wording of prompts, and their way into tokens."""

import pytest

from learner.prompt import (
    COMPLETION_CONTEXT,
    DRAFT_KINDS,
    SYSTEM,
    answer_ids,
    completion,
    draft,
    prompt_ids,
    render,
    rewrite,
)
from learner.records import Message


class WordTokenizer:
    """A tokenizer at the boundary: ChatML, and one id per character."""

    eos_token_id = 2

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt):
        assert not tokenize
        body = "".join(f"<{m['role']}>{m['content']}</>" for m in messages)
        return body + ("<assistant>" if add_generation_prompt else "")

    def __call__(self, text, *, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [ord(c) for c in text]}


def test_rewrite_shows_instruction_and_text():
    prompt = rewrite("some  text\n", "  Mend it. ")
    assert prompt.messages == (Message("system", SYSTEM), Message("user", "Mend it.\n\nsome  text\n"))
    assert prompt.prefill == ""


@pytest.mark.parametrize("kind", DRAFT_KINDS)
def test_draft_asks_in_the_words_of_its_kind(kind):
    assert draft("- a note", kind).messages[-1].content == f"{DRAFT_KINDS[kind]}\n\n- a note"


def test_an_unknown_kind_of_draft_is_refused():
    with pytest.raises(KeyError):
        draft("notes", "poem")


def test_completion_gives_the_line_to_the_model_as_its_beginning():
    prompt = completion("x = 1\n", "y = ", "python")
    assert prompt.prefill == "y = "
    assert "x = 1\n" in prompt.messages[-1].content
    assert "python" in prompt.messages[-1].content
    assert "y = " not in prompt.messages[-1].content


def test_completion_shows_the_indentation_with_the_document():
    prompt = completion("def f():\n", "    return ", "python")
    assert prompt.prefill == "return "
    assert prompt.messages[-1].content.endswith("def f():\n    ")


def test_completion_shows_only_the_end_of_a_long_document():
    before = "".join(f"line {n}\n" for n in range(2000))
    content = completion(before, "", "").messages[-1].content
    assert content.endswith(before[-COMPLETION_CONTEXT:])
    assert "line 0\n" not in content


def test_completion_of_an_empty_document_has_no_context():
    assert completion(" \n", "", "").messages[-1].content == "Continue this text.\n"


def test_render_ends_where_the_answer_begins():
    text = render(completion("a\n", "b = ", ""), WordTokenizer())
    assert text.startswith(f"<system>{SYSTEM}</><user>")
    assert text.endswith("<assistant>b = ")


def test_prompt_ids_are_those_of_the_rendered_text():
    prompt = rewrite("a", "b")
    assert prompt_ids(prompt, WordTokenizer()) == [ord(c) for c in render(prompt, WordTokenizer())]


def test_end_of_text_is_a_target_only_where_the_end_was_meant():
    assert answer_ids("ab", WordTokenizer(), ended=True) == [97, 98, 2]
    assert answer_ids("ab", WordTokenizer(), ended=False) == [97, 98]
