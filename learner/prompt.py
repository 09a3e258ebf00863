"""Prompts: what the model is asked, for every task, for serving and for training alike.

A mismatch between the prompt that was served and the one that is trained on silently ruins every
log-ratio, so this module is the only place that words a prompt or turns one into tokens.
`PROMPT_VERSION` is stored with each offer; change it whenever a wording changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from learner.records import Message, Prompt

PROMPT_VERSION = "1"

SYSTEM = "You are a writing assistant. Answer with the text itself and nothing else."

DRAFT_KINDS = {
    "summary": "Summarize these notes in a few sentences.",
    "email": "Write an email from these notes.",
    "docstring": "Write the docstring for this code. Answer with the text of the docstring only, without quotes.",
    "commit": "Write the commit message for this change: a short subject line, an empty line, and a body if needed.",
}
"""What `redraft.draft` can write from the selected notes, and the words that ask for it."""

COMPLETION_CONTEXT = 2000
"""Characters before the current line that a completion's prompt shows."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A rewrite that the editor's menu offers."""

    title: str
    instruction: str


DEFAULT_REWRITES = (
    Rewrite("Fix spelling and grammar", "Fix the spelling and grammar of this text."),
    Rewrite("Make it shorter", "Make this text shorter."),
    Rewrite("Make it clearer", "Make this text clearer and simpler."),
)


def rewrite(text: str, instruction: str) -> Prompt:
    """Ask for `text` again, changed by `instruction`."""
    return Prompt((Message("system", SYSTEM), Message("user", f"{instruction.strip()}\n\n{text}")))


def draft(notes: str, kind: str) -> Prompt:
    """Ask for a new text of the given kind, made from notes. Raises KeyError for an unknown kind."""
    return Prompt((Message("system", SYSTEM), Message("user", f"{DRAFT_KINDS[kind]}\n\n{notes}")))


def completion(before: str, line: str, language: str) -> Prompt:
    """Ask for what follows the cursor.

    `before` is the document up to the current line, of which the last `COMPLETION_CONTEXT`
    characters are shown; `line` is the current line up to the cursor, given to the model as the
    beginning of its answer, so that the arm changes nothing before it. Its indentation is shown with
    the document instead: at the start of an answer it would melt with the line break of the invocation
    into one token, and an activated LoRA would silently not act.
    """
    start = line.lstrip()
    context = (before + line[: len(line) - len(start)])[-COMPLETION_CONTEXT:]
    what = f"Continue this {language} text." if language else "Continue this text."
    body = f"{what} Answer with what comes next.\n\n{context}" if context.strip() else f"{what}\n"
    return Prompt((Message("system", SYSTEM), Message("user", body)), prefill=start)


def render(prompt: Prompt, tokenizer: Any) -> str:
    """The prompt as the one string that the model reads, up to where its answer begins.

    `tokenizer` is a transformers tokenizer with a chat template. llama.cpp renders the same
    template from the GGUF; a test compares the two token by token.
    """
    text: str = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in prompt.messages],
        tokenize=False,
        add_generation_prompt=True,
    )
    return text + prompt.prefill


def prompt_ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """Token ids of the prompt, special tokens of the template included."""
    ids: list[int] = tokenizer(render(prompt, tokenizer), add_special_tokens=False)["input_ids"]
    return ids


def answer_ids(text: str, tokenizer: Any, *, ended: bool) -> list[int]:
    """Token ids of an answer; with end-of-text where the model stopped by itself or the user settled the end."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id] if ended else ids
