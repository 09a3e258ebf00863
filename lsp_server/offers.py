"""From a request of the editor to an offer: prompt, arm, model host, trimming.

What is asked for (`Ask`) is decided here; where it is put in the document is the session's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from learner import prompt as prompts
from learner.bandit import Context
from learner.exceptions import PrivacyError, RedraftError, UnknownArmError
from learner.privacy import excluded, redacted, secret_in
from learner.prompt import PROMPT_VERSION
from learner.records import Decision, Offer, Prompt, Task, new_id, now
from learner.trimming import trim

if TYPE_CHECKING:
    from learner.client import Generation
    from lsp_server.host import Host
    from lsp_server.recorder import Recorder

logger = logging.getLogger(__name__)
CHARS_PER_TOKEN = 3
"""A cautious guess, used only to bound lengths before a tokenizer has spoken."""
LONGEST_INPUT = 9_000
"""Characters of a selection that a rewrite or draft can take; beyond it the model's context would overflow."""
DRAFT_TOKENS = 320
COMPLETION_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is wanted: line, character, end line and end character of a version of a document."""

    uri: str
    language: str
    workspace: str
    version: int
    range: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of the model, for which place of which document."""

    task: Task
    place: Place
    prompt: Prompt
    instruction: str
    max_tokens: int
    stop: tuple[str, ...] = ()


def readable(text: str) -> str:
    """A text as a model reads it: line ends as `\\n`, half surrogate pairs as U+FFFD."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def check(uri: str, text: str, what: str) -> None:
    """The gate before the prompt. Raises PrivacyError or RedraftError, saying why, for a text that may not go."""
    reason = excluded(uri)
    if reason:
        raise PrivacyError(reason)
    found = secret_in(text)
    if found:
        raise PrivacyError(f"the {what} holds what looks like {found}; Redraft does not show it to a model")
    if not text.strip():
        raise RedraftError(f"the {what} is empty: select the text to work on first")
    if len(text) > LONGEST_INPUT:
        raise RedraftError(
            f"the {what} has {len(text):,} characters and the model can take {LONGEST_INPUT:,}: select less of it"
        )


def rewrite(place: Place, text: str, instruction: str) -> Ask:
    """Ask for the selected text, rewritten."""
    text, instruction = readable(text), readable(instruction)
    check(place.uri, text, "selection")
    if not instruction.strip():
        raise RedraftError("the instruction is empty: say what to do with the text, such as 'Make this shorter.'")
    found = secret_in(instruction)
    if found:
        raise PrivacyError(f"the instruction holds what looks like {found}")
    limit = min(1000, 64 + 2 * len(text) // CHARS_PER_TOKEN)
    return Ask(Task.REWRITE, place, prompts.rewrite(text, instruction), instruction.strip(), limit)


def draft(place: Place, notes: str, kind: str) -> Ask:
    """Ask for a new text from the selected notes."""
    if kind not in prompts.DRAFT_KINDS:
        raise RedraftError(f"unknown kind of draft {kind!r}; there are: {', '.join(prompts.DRAFT_KINDS)}")
    notes = readable(notes)
    check(place.uri, notes, "selection")
    return Ask(Task.DRAFT, place, prompts.draft(notes, kind), prompts.DRAFT_KINDS[kind], DRAFT_TOKENS)


def completion(place: Place, before: str, line: str) -> Ask:
    """Ask for what follows the cursor. What looks like a secret in the text around it is blacked out.

    The indentation of the line is shown with the text before it: an answer that begins with white
    space would switch an activated LoRA off (its invocation tokens melt into the white space).
    """
    before, line = redacted(readable(before)), redacted(readable(line))
    begun = line.lstrip()
    before += line[: len(line) - len(begun)]
    asked = prompts.completion(before, begun, place.language)
    return Ask(Task.COMPLETION, place, asked, "", COMPLETION_TOKENS, ("\n\n",))


async def _answer(
    ask: Ask,
    host: Host,
    recorder: Recorder,
    held: Decision | None,
    on_text: Callable[[str], None] | None,
    asked: bool,
    ahead: bool,
) -> tuple[Decision, Generation]:
    """The answer under the arm that was chosen, and the decision that it is an answer of.

    Only arms that the host has are drawn from, and the propensity is that of the draw among them: what could not
    answer is no part of the choice. Where the host lost the arm since it was asked what it has, the draw is void:
    nothing of it is recorded, and another is made among the rest, logged with its own probability (1 where only
    the base is left). Then each arm of the rest answers with its logged probability times the same factor,
    1 + p(lost), so that self-normalised estimates compare them as they should.
    """
    decision, lost = held, set[str]()
    while True:
        info = await host.refresh(asked=asked)
        loaded = frozenset(info.adapters) - lost
        if decision is None or (decision.adapter_version is not None and decision.adapter_version not in loaded):
            decision = await recorder.choose(
                Context(ask.task, ask.place.language, ask.place.uri), host.fingerprint, loaded
            )
        adapter = decision.adapter_version
        try:
            return decision, await host.generate(
                ask.prompt,
                adapter=adapter,
                max_tokens=ask.max_tokens,
                stop=ask.stop,
                on_text=on_text,
                asked=asked,
                ahead=ahead,
            )
        except UnknownArmError as error:
            if adapter is None:
                raise
            logger.warning("%s", error)
            lost.add(adapter)


async def make(
    ask: Ask,
    host: Host,
    recorder: Recorder,
    *,
    held: Decision | None = None,
    on_text: Callable[[str], None] | None = None,
    asked: bool = True,
    ahead: bool = False,
) -> tuple[Decision, Offer] | None:
    """Choose an arm, ask the host, trim. None when nothing is left to offer.

    `held` is a decision that still holds (a window of ghost-text requests). The offer names the
    adapter that the host really used. `ahead`: nobody asked yet (`Host.generate`). Raises HostError or
    ModelMissingError.
    """
    decision, answer = await _answer(ask, host, recorder, held, on_text, asked, ahead)
    text = trim(answer.text, ask.task)
    if not text:
        return None
    offer = Offer(
        id=new_id(),
        decision_id=decision.id,
        created_at=now(),
        task=ask.task,
        language=ask.place.language,
        document=ask.place.uri,
        workspace=ask.place.workspace,
        version=ask.place.version,
        range=ask.place.range,
        prompt=ask.prompt,
        prompt_version=PROMPT_VERSION,
        generated=answer.text,
        offered=text,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        latency_ms=answer.latency_ms,
        arm=decision.arm,
        adapter_version=answer.adapter,
        base_model=host.fingerprint,
        engine=answer.engine,
        instruction=ask.instruction,
    )
    return decision, offer


def again(offer: Offer, ask: Ask, stands: int) -> Offer:
    """An answer that was given before, offered anew where `stands` characters of it have been typed since.

    The prompt is the one of now: under greedy decoding the rest is what the model would say to it, but for words
    that are cut elsewhere. Nothing was generated for it: no tokens, no time.
    """
    head, rest = offer.offered[:stands], offer.offered[stands:]
    generated = offer.generated[stands:] if offer.generated.startswith(head) else rest
    return replace(
        offer,
        id=new_id(),
        created_at=now(),
        version=ask.place.version,
        range=ask.place.range,
        prompt=ask.prompt,
        generated=generated,
        offered=rest,
        prompt_tokens=0,
        completion_tokens=0,
        latency_ms=0.0,
    )
