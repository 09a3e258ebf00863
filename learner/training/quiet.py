"""Keeps the libraries below us silent, offline and polite: our own progress is what a user sees.

Import it before torch.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

# Read when the libraries are imported, so it stands here, before any of them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# torch's threads spin while they wait for each other. With anything else at work on the machine (a
# browser, an editor, a model host) a step took 8 to 30 s instead of 2; asleep they cost a few percent.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No log lines, no bars, no warnings from transformers, datasets, trl and peft; restored afterwards."""
    import datasets
    import transformers
    from transformers.utils import logging as transformers_logging

    before = transformers.logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    datasets_before, datasets_bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    transformers.logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(before)
        datasets.logging.set_verbosity(datasets_before)
        if bars:
            transformers_logging.enable_progress_bar()
        if not datasets_bars:
            datasets.enable_progress_bars()
