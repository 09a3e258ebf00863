"""The whole way to vLLM by the command line: a plain LoRA is trained, promoted and published."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "learner"))
from cli_calls import call, said, some_edits

from learner.models import BaseModel


def test_a_plain_adapter_is_trained_and_published(
    tiny_base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    assert tiny_base.folder is not None
    own = tiny_base.folder.parent  # others may have set more up beside it
    (home / "models" / own.name).symlink_to(own)
    monkeypatch.setenv("REDRAFT_HOME", str(home))
    assert call("edits", "import", str(some_edits(tmp_path / "in.jsonl", 12))).exit_code == 0
    said("train", "--feedback", "sft", "--epochs", "1", "--form", "lora")
    said("adapters", "promote", "sft-1")
    report = said("adapters", "publish", "--to", str(tmp_path / "shared"), "--engine", "vllm")
    (row,) = report["adapters"]
    assert (row["id"], row["form"], row["status"]) == ("sft-1", "lora", "written")
    config = json.loads((Path(row["path"]) / "adapter_config.json").read_text())
    assert config["alora_invocation_tokens"] is None
    assert config["r"] == row["rank"] == 16
    assert f"{row['name']}={row['path']}" in report["commands"]["vllm"]
    assert "--max-lora-rank 16" in report["commands"]["vllm"]
