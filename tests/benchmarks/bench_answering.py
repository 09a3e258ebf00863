"""Answers of the real SmolLM2 in the product's own host, against plain llama.cpp and `transformers.generate`.

- A change of arms in one document: how many tokens of the prompt are read again. Peer: the same with plain LoRA.
- Rewrites through `redraft-lsp`, by the share of the answer that is copied from the selection, and drafts, which copy
  nothing. Peer: llama.cpp's server with the same model and settings, without speculation. The share is not forced: real
  texts are rewritten greedily, and told apart by the share of an answer that the prompt has too, in runs of 4 tokens.
- The same rewrites by `transformers.generate`.

With and without speculation, text and log-probabilities must be equal; both engines have the zero adapter and read the
same before, since llama.cpp computes a prompt in batches, to other last digits where the cache held something else.
Both sides read every prompt anew; times are of whole requests, in turn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

from learner.client import Generation
from learner.config import Config, Paths
from learner.exceptions import AdapterError
from learner.launch import stop_host
from learner.models import BaseModel
from learner.prompt import prompt_ids
from learner.serving import ArmSet, PrivateHost
from learner.store import Store
from tests.benchmarks.answers import (
    NOTES,
    Case,
    Transformers,
    copied_share,
    fresh_home,
    generate,
    plain_llama,
    prepared_base,
    random_adapter,
    rewrites,
    whole,
)
from tests.benchmarks.row import Row
from tests.benchmarks.wire import Wire, served

URI = "file:///bench.md"
REWRITES = 10
COMPARED = 3
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
NOISE = 0.1
"""Largest difference of a token's log-probability, in nats."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One answer: seconds per token of ours and of plain llama.cpp, and what share of it was copied."""

    case: Case
    ours: float
    plain: float
    copied: float
    tokens: int


def changes_of_arms(base: BaseModel) -> Iterator[Row]:
    """Tokens of a prompt that are read again when the arm changes, activated LoRA against plain LoRA."""
    ask = rewrites(1)[0].ask
    again: dict[bool, float] = {}
    with tempfile.TemporaryDirectory(prefix="rd-") as name:
        for activated in (True, False):
            arm = "sft-1" if activated else "plain-1"
            adapter = random_adapter(base, Path(name), arm, activated=activated)
            assert base.gguf is not None
            arms = ArmSet(base.gguf, base.fingerprint, base.zero_adapter if activated else None, {arm: adapter})
            with PrivateHost(arms, Config(context=1024)) as endpoint:
                short = Case(ask.prompt.messages[-1].content, "Fix this.")
                read = [_read(generate(endpoint, short.ask, adapter=a)) for a in (None, arm, None, arm)]
            assert read[0] > 50, "the first request reads the prompt"
            again[activated] = fmean(read[1:])
    yield Row.of("prompt tokens read again at a change of arms", again[True], again[False], 8, "tokens", on="ours")


def _read(answer: Generation) -> int:
    return answer.prompt_tokens - answer.cached_tokens


def through_server(wire: Wire, case: Case, version: int) -> tuple[float, str | None]:
    """Seconds until `redraft-lsp` answers, and its offer's id; None where the model left the text as it is."""
    item = {"uri": f"{URI}{version}", "languageId": "markdown", "version": 1, "text": case.text}
    wire.tell("textDocument/didOpen", {"textDocument": item})
    stretch = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": len(case.text)}}
    body: dict[str, Any] = {"uri": item["uri"], "range": stretch, "preview": True}
    body |= {"kind": "email"} if case.instruction is None else {"instruction": case.instruction}
    command = "redraft.draft" if case.instruction is None else "redraft.rewrite"
    started = perf_counter()
    try:
        seconds, answer = wire.ask("workspace/executeCommand", {"command": command, "arguments": [body]})
        return seconds, answer["offerId"]
    except RuntimeError as error:
        if "left the text as it is" not in str(error):
            raise
        return perf_counter() - started, None


def timings(base: BaseModel, paths: Paths, tokenizer: Any) -> list[Timed]:
    """Every case through `redraft-lsp` and by plain llama.cpp, in turn."""
    found: list[Timed] = []
    with plain_llama(base) as plain, served(["-m", "lsp_server.cli"], str(paths.data), {"record": True}) as wire:
        through_server(wire, Case("one two three", None), 0)  # starts the host
        generate(plain, Case("one two three", None).ask)
        for number, case in enumerate([*rewrites(REWRITES), *(Case(notes, None) for notes in NOTES)], 1):
            started = perf_counter()
            theirs = generate(plain, case.ask)
            theirs_seconds = perf_counter() - started
            seconds, offer_id = through_server(wire, case, number)
            # some answers part from plain llama.cpp's, which has no adapter: each has its own number of tokens
            tokens = _generated(paths, offer_id) if offer_id else theirs.completion_tokens
            each = seconds / tokens, theirs_seconds / theirs.completion_tokens
            answer = tokenizer(theirs.text, add_special_tokens=False)["input_ids"]
            copied = copied_share(prompt_ids(case.ask.prompt, tokenizer), answer)
            found.append(Timed(case, *each, copied, theirs.completion_tokens))
    stop_host(paths)
    return found


def _generated(paths: Paths, offer_id: str) -> int:
    """How many tokens the model wrote for an offer, as it was recorded."""
    with Store.open(paths.database, read_only=True) as store:
        return int(store.read("SELECT completion_tokens FROM offers WHERE id = ?", [offer_id])[0][0])


def equality(base: BaseModel) -> Iterator[Row]:
    """The host's engine against the same without speculation; both are new and are asked the same in the same order."""
    assert base.gguf is not None
    arms, worst, parted, cases = ArmSet(base.gguf, base.fingerprint, base.zero_adapter), 0.0, 0, rewrites(COMPARED)
    with plain_llama(base, (str(base.zero_adapter),)) as plain, PrivateHost(arms, Config()) as ours:
        for case in cases:
            mine, theirs = (whole(endpoint, case.ask) for endpoint in (ours, plain))
            for (token, own), (other, peer) in zip(mine, theirs, strict=False):
                if own != 0.0:  # right guesses come without one
                    worst = max(worst, abs(own - peer))
                if token != other:
                    parted += 1
                    break
    assert worst <= NOISE, f"log-probabilities differ by {worst}"
    yield Row.of("speculation: largest difference of a log-probability", worst, None, NOISE, "nats")
    yield Row.of("speculation: answers with another text", parted, len(cases), 0, "answers", on="ours")


def rows() -> Iterator[Row]:
    """All of it: three minutes on two quiet cores. Raises AssertionError where answers are not what they should be."""
    base, _ = prepared_base()
    if base.folder is None or base.gguf is None:
        raise AdapterError("this base has no weights and no GGUF here")
    yield from changes_of_arms(base)
    yield from equality(base)
    torch_side = Transformers(base)
    with fresh_home(base) as paths:
        found = timings(base, paths, torch_side.tokenizer)
    rewritten = [one for one in found if one.case.instruction is not None]
    for share in SHARES:
        near = [one for one in rewritten if abs(one.copied - share) <= 0.1]
        if near:
            limit = 0.5 if share == 0.8 else None
            yield _row(f"rewrite, {share:.0%} copied ({len(near)} answers), a token", near, limit)
    yield _row("draft (nothing copied), a token", [one for one in found if one.case.instruction is None], 1.0)
    some = sorted(rewritten, key=lambda one: -one.copied)[:1]
    slow = fmean(torch_side.seconds_per_token(one.case.ask) for one in some)
    fast = fmean(one.ours for one in some)
    yield Row.of("rewrite, a token, against transformers.generate", 1e3 * fast, 1e3 * slow, 1 / 8, "ms")


def _row(name: str, some: list[Timed], limit: float | None) -> Row:
    """Milliseconds a token, over all tokens of some answers."""
    tokens = sum(one.tokens for one in some)
    ours, plain = (sum(seconds * one.tokens for seconds, one in pairs) for pairs in _both(some))
    return Row.of(name, 1e3 * ours / tokens, 1e3 * plain / tokens, limit, "ms")


def _both(some: list[Timed]) -> tuple[list[tuple[float, Timed]], list[tuple[float, Timed]]]:
    return [(one.ours, one) for one in some], [(one.plain, one) for one in some]


if __name__ == "__main__":
    for row in rows():
        print(row)
