"""What the benchmark of answers is made of: texts to rewrite, a plain llama.cpp, adapters, transformers."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2
import msgspec

from learner.client import Endpoint, Generation, HostClient
from learner.config import Paths
from learner.documents import library_texts, package_texts, shuffled
from learner.engine import EngineSpec
from learner.models import BaseModel, setup
from lsp_server import offers
from lsp_server.offers import Ask, Place

PLACE = Place("file:///bench.md", "markdown", "", 1, (0, 0, 0, 0))
INSTRUCTIONS = (
    "Fix the spelling and grammar of this text.",
    "Make this text clearer and simpler.",
    "Make this text shorter.",
    "Repeat this text word for word.",
)
NOTES = (
    "launch moved to friday; tell the team; thank them for the work",
    "rain all week; trip to the lake is off; propose the museum instead; ask for votes",
)
WORDS = 45, 75
"""Fewest and most in a text to rewrite."""
RUN = 4
"""So many tokens in a row that stand in the prompt count as copied."""
PLAIN = """
import sys
import msgspec
from xllamacpp import Server, common_speculative_type
from learner.engine import EngineSpec, common_params
params = common_params(msgspec.json.decode(sys.argv[1], type=EngineSpec))
params.speculative.types = [common_speculative_type.COMMON_SPECULATIVE_TYPE_NONE]
server = Server(params)
print("ready", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A text of the user's and what is asked of it: a rewrite by an instruction, or with None an email from notes."""

    text: str
    instruction: str | None

    @property
    def ask(self) -> Ask:
        """The request as the server makes it."""
        if self.instruction is None:
            return offers.draft(PLACE, self.text, "email")
        return offers.rewrite(PLACE, self.text, self.instruction)


def rewrites(count: int) -> list[Case]:
    """Real texts, each with one of the instructions in turn."""
    texts = shuffled(chain(library_texts(*WORDS), package_texts(*WORDS)), 3, 0)[:count]
    return [Case(text.body, INSTRUCTIONS[i % len(INSTRUCTIONS)]) for i, text in enumerate(texts)]


def prepared_base() -> tuple[BaseModel, Path]:
    """SmolLM2 as the tests have it prepared, and the home that it is in."""
    home = Path(os.environ.get("REDRAFT_TEST_CACHE") or "build/test-home").absolute()
    return setup(None, Paths(home, home / "config.toml", home / "run"), lambda words, share: None), home


@contextmanager
def fresh_home(base: BaseModel) -> Iterator[Paths]:
    """An empty REDRAFT_HOME with the base in it, in a path short enough for a socket."""
    assert base.folder is not None
    with tempfile.TemporaryDirectory(prefix="rd-") as name:
        home = Path(name)
        shutil.copytree(base.folder.parent, home / "models" / base.folder.parent.name, copy_function=_link)
        yield Paths(home, home / "config.toml", home / "run")


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)


@contextmanager
def plain_llama(base: BaseModel, adapters: tuple[str, ...] = ()) -> Iterator[Endpoint]:
    """llama.cpp's own server on the same model, with the product's settings but without speculation."""
    with tempfile.TemporaryDirectory(prefix="rd-") as name:
        endpoint = Endpoint(None, Path(name) / "plain.sock", "key")
        spec = EngineSpec(
            str(base.gguf), "plain", adapters, "key", str(endpoint.socket), slots=1, context=4096, threads=0
        )
        command = [sys.executable, "-c", PLAIN, msgspec.json.encode(spec).decode()]
        quiet: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, stdin=subprocess.PIPE, **quiet) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n", "the plain server did not start"
                yield endpoint
            finally:
                process.kill()


def generate(endpoint: Endpoint, ask: Ask, *, adapter: str | None = None, logprobs: int = 0) -> Generation:
    """A greedy answer of a host."""

    async def asked() -> Generation:
        async with HostClient(endpoint) as client:
            await client.connect()
            return await client.generate(
                ask.prompt, adapter=adapter, max_tokens=ask.max_tokens, stop=ask.stop, logprobs=logprobs
            )

    return asyncio.run(asked())


def whole(endpoint: Endpoint, ask: Ask) -> list[tuple[int, float]]:
    """Token ids of a greedy answer of the base and their log-probabilities: 0 for a guess that was right.

    Not streamed: there llama.cpp leaves out right guesses altogether.
    """
    body = {
        "messages": [{"role": m.role, "content": m.content} for m in ask.prompt.messages],
        "max_tokens": ask.max_tokens,
        "lora": [{"id": 0, "scale": 1.0}],
        **{"temperature": 0, "top_k": 0, "top_p": 1.0, "min_p": 0, "logprobs": True, "top_logprobs": 1},
    }
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    transport = httpx2.HTTPTransport(uds=None if endpoint.socket is None else str(endpoint.socket))
    with httpx2.Client(transport=transport, base_url=endpoint.url or "http://host", timeout=120) as http:
        found = http.post("/v1/chat/completions", json=body, headers=headers).raise_for_status().json()
    return [(token["id"], token["logprob"]) for token in found["choices"][0]["logprobs"]["content"]]


def copied_share(prompt: Sequence[int], answer: Sequence[int]) -> float:
    """The share of an answer's tokens that stand in runs of `RUN` or more which the prompt has too."""
    there = {tuple(prompt[i : i + RUN]) for i in range(len(prompt) - RUN + 1)}
    copied: set[int] = set()
    for i in range(len(answer) - RUN + 1):
        if tuple(answer[i : i + RUN]) in there:
            copied.update(range(i, i + RUN))
    return len(copied) / max(1, len(answer))


class Transformers:
    """`transformers.generate` on the same base in bfloat16, which is its faster type here."""

    def __init__(self, base: BaseModel) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(base.folder)
        self._model: Any = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.bfloat16).eval()

    def seconds_per_token(self, ask: Ask) -> float:
        """Of a greedy answer, its prompt included."""
        import torch

        from learner.prompt import prompt_ids

        ids = torch.tensor([prompt_ids(ask.prompt, self.tokenizer)])
        started = perf_counter()
        with torch.inference_mode():
            out = self._model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=ask.max_tokens, do_sample=False
            )
        return (perf_counter() - started) / (out.shape[1] - ids.shape[1])


def random_adapter(base: BaseModel, folder: Path, name: str, *, activated: bool) -> Path:
    """A LoRA with random weights as peft saves it, published as a trained one is; its GGUF."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from learner.training.publish import publish

    torch.manual_seed(0)
    config = LoraConfig(
        r=4,
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
        alora_invocation_tokens=list(base.invocation) if activated else None,
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32), config)
    for what, weight in model.named_parameters():
        if "lora_B" in what:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(folder / f"peft-{name}")
    return publish(folder / f"peft-{name}", base, folder / name) / "adapter.gguf"
