"""A home whose base model is served elsewhere, with one live adapter of it: `sft-1`."""

from pathlib import Path

from learner import registry
from learner.config import Paths
from learner.model_files import LAYOUT, Record, write_record
from learner.records import AdapterForm, AdapterState, AdapterVersion, Run
from learner.store import Store

FINGERPRINT = "f" * 64
NAME = "redraft-sft-1-abcdabcd"


def set_up(home: Path) -> Paths:
    """Set the base up by its record alone: there are no weights here. Recording is consented to."""
    folder = home / "models" / "small"
    folder.mkdir(parents=True)
    record = Record(
        layout=LAYOUT, name="small", fingerprint=FINGERPRINT, source="x", source_files={}, files={}, folder=None,
        gguf=None, zero_adapter=None, invocation=[], trainable=False, convertible=False, notes=[], training_extra=False,
    )  # fmt: skip
    write_record(folder, record)
    with Store.open(home / "edits.db") as store:
        store.set_consent(True, source="test")
        registry.start_run(store, Run("run", 1.0, None, "running", FINGERPRINT, {}, {}))
        made = AdapterVersion(
            "sft-1", "sft", 1, "sft", FINGERPRINT, AdapterForm.LORA, AdapterState.SERVING, str(home), "abcd" * 16,
            1.0, "run", 10,
        )  # fmt: skip
        registry.register(store, made, [])
    return Paths(home, home / "config.toml", home / "run")
