"""A stand-in for `vllm serve --enable-lora`, after vLLM's documented wire format; a real socket, no model.

It answers `NAME says: LAST MESSAGE.` word by word, NAME being the model that was asked for. It refuses what
vLLM refuses, in vLLM's words, and also every field that vLLM does not know (which vLLM would ignore).

Source: docs.vllm.ai, "LoRA Adapters" and "OpenAI-Compatible Server" (0.10 and later), and the request's schema
`ChatCompletionRequest` there.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHAT, LOAD = "/v1/chat/completions", "/v1/load_lora_adapter"
BASE = "base-model"
KNOWN = {
    "messages", "model", "frequency_penalty", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens", "n",
    "presence_penalty", "seed", "stop", "stream", "stream_options", "temperature", "top_p", "top_k", "min_p",
    "repetition_penalty", "add_generation_prompt", "continue_final_message",
}  # fmt: skip
LIMITS = {
    "temperature": (0.0, 2.0), "top_p": (1e-9, 1.0), "min_p": (0.0, 1.0), "repetition_penalty": (1e-9, 2.0),
    "presence_penalty": (-2.0, 2.0), "frequency_penalty": (-2.0, 2.0), "top_logprobs": (0, 20),
}  # fmt: skip


class RefusalError(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        self.status = status
        self.body: object = {"error": {"message": message, "type": kind, "param": param, "code": status}}


def missing_model(name: object) -> RefusalError:
    return RefusalError(404, f"The model `{name}` does not exist.", "NotFoundError", "model")


@dataclass
class VLLM:
    """The server's state, and what it was asked."""

    adapters: dict[str, str] = field(default_factory=dict)
    """Folders by name."""
    key: str | None = None
    runtime_loading: bool = False
    max_lora_rank: int = 16
    max_model_len: int = 2048
    base: str = BASE
    url: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def bodies(self, path: str = CHAT) -> list[dict[str, Any]]:
        return [body for where, body in self.asked if where == path]

    # --- addresses -----------------------------------------------------------------------------

    def models(self) -> dict[str, Any]:
        card = {"object": "model", "created": 1, "owned_by": "vllm", "permission": []}
        bases = [{**card, "id": self.base, "root": self.base, "parent": None, "max_model_len": self.max_model_len}]
        loras = [{**card, "id": n, "root": path, "parent": self.base} for n, path in self.adapters.items()]
        return {"object": "list", "data": bases + loras}

    def load(self, body: Mapping[str, Any]) -> str:
        if not self.runtime_loading:
            refusal = RefusalError(404, "")
            refusal.body = {"detail": "Not Found"}
            raise refusal
        name, path = body.get("lora_name"), body.get("lora_path")
        if not name or not path:
            raise RefusalError(400, "Both 'lora_name' and 'lora_path' must be provided.", "InvalidUserInput")
        if name in self.adapters:
            raise RefusalError(400, f"The lora adapter '{name}' has already been loaded.", "InvalidUserInput")
        try:
            config = json.loads((Path(path) / "adapter_config.json").read_text())
            assert (Path(path) / "adapter_model.safetensors").is_file()
        except (OSError, AssertionError):
            raise RefusalError(404, f"No adapter found for {path}", "NotFoundError") from None
        if config["r"] > self.max_lora_rank:
            words = f"LoRA rank {config['r']} is greater than max_lora_rank {self.max_lora_rank}."
            raise RefusalError(500, words, "InternalServerError")
        self.adapters[name] = path
        return f"Success: LoRA adapter '{name}' added successfully."

    def check(self, body: Mapping[str, Any]) -> None:
        """What `ChatCompletionRequest` refuses."""
        for unknown in set(body) - KNOWN:
            raise RefusalError(400, f"unknown field {unknown}")
        if body.get("model") not in (self.base, *self.adapters):
            raise missing_model(body.get("model"))
        for name, (least, most) in LIMITS.items():
            if name in body and not least <= body[name] <= most:
                raise RefusalError(400, f"{name} must be in [{least}, {most}], got {body[name]}.", param=name)
        if body.get("top_k", 0) < -1:
            raise RefusalError(400, f"top_k must be 0 (disable), or at least 1, got {body['top_k']}.")
        if body.get("max_tokens", 1) < 1:
            raise RefusalError(400, f"max_tokens must be at least 1, got {body['max_tokens']}.", param="max_tokens")
        if body.get("top_logprobs") and not body.get("logprobs"):
            raise RefusalError(400, "when using `top_logprobs`, `logprobs` must be set to true.")
        if body.get("stream_options") and not body.get("stream"):
            raise RefusalError(400, "Stream options can only be defined when `stream=True`.")
        if body.get("continue_final_message") and body.get("add_generation_prompt", True):
            raise RefusalError(400, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
        if body.get("continue_final_message") and body["messages"][-1]["role"] != "assistant":
            raise RefusalError(400, "Cannot continue a message that is not the assistant's.")
        length = sum(len(m["content"].split()) for m in body["messages"])
        if length + body.get("max_tokens", 0) > self.max_model_len:
            raise RefusalError(400, f"This model's maximum context length is {self.max_model_len} tokens.")

    def events(self, body: Mapping[str, Any]) -> list[object]:
        """The chunks of a streamed answer."""
        text = f"{body['model']} says: {body['messages'][-1]['content']}."
        stops = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
        tokens, reason = re.findall(r"\s*\S+", text), "stop"
        if len(tokens) > body.get("max_tokens", 16):
            tokens, reason = tokens[: body["max_tokens"]], "length"
        for stop in stops:
            if stop in "".join(tokens):
                tokens, reason = re.findall(r"\s*\S+", "".join(tokens).split(stop)[0]), "stop"
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}

        def chunk(delta: object, finish: str | None = None, logprobs: object = None) -> object:
            choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish, "stop_reason": None}
            return {**head, "choices": [choice]}

        found: list[object] = [chunk({"role": "assistant", "content": ""})]
        for number, token in enumerate(tokens):
            entry = {"token": token, "logprob": -0.5 - number, "bytes": list(token.encode()), "top_logprobs": []}
            found.append(chunk({"content": token}, logprobs={"content": [entry]} if body.get("logprobs") else None))
        found.append(chunk({"content": ""}, reason))
        if (body.get("stream_options") or {}).get("include_usage"):
            length = sum(len(m["content"].split()) for m in body["messages"])
            usage = {
                "prompt_tokens": length, "completion_tokens": len(tokens), "total_tokens": length + len(tokens),
                "prompt_tokens_details": None,
            }  # fmt: skip
            found.append({**head, "choices": [], "usage": usage})
        return found

    # --- HTTP ----------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = first.split()
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
            raw = await reader.readexactly(int(headers.get("content-length", "0")))
            try:
                status, kind, content = 200, *self.answer(method, path, headers, raw)
            except RefusalError as error:
                status, kind, content = error.status, "application/json", json.dumps(error.body).encode()
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode())
            writer.write(content)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[str, bytes]:
        if path.startswith("/v1") and self.key and headers.get("authorization") != f"Bearer {self.key}":
            refusal = RefusalError(401, "")
            refusal.body = {"error": "Unauthorized"}
            raise refusal
        if method == "POST" and headers.get("content-type") != "application/json":
            raise RefusalError(400, "Unsupported Media Type: Only 'application/json' is allowed")
        body = json.loads(raw) if raw else {}
        self.asked.append((path, body))
        if (method, path) == ("GET", "/v1/models"):
            return "application/json", json.dumps(self.models()).encode()
        if (method, path) == ("POST", LOAD):
            return "text/plain; charset=utf-8", self.load(body).encode()
        if (method, path) == ("POST", CHAT):
            self.check(body)
            assert body.get("stream"), "Redraft always streams"
            parts = [f"data: {json.dumps(event)}\n\n" for event in self.events(body)]
            return "text/event-stream; charset=utf-8", ("".join(parts) + "data: [DONE]\n\n").encode()
        refusal = RefusalError(404, "")
        refusal.body = {"detail": "Not Found"}
        raise refusal


@asynccontextmanager
async def vllm(**state: Any) -> AsyncIterator[VLLM]:
    """Serve on a free port of this machine."""
    it = VLLM(**state)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield it
    finally:
        server.close()
