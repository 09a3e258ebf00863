"""sqlite-utils, without the pandas and numpy that it imports wherever they are installed.

They come with the training packages, and would cost every editor session 0.4 s and 60 MB.
"""

from __future__ import annotations

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_kept_out = [name for name in ("pandas", "numpy") if name not in _modules]
_modules.update(dict.fromkeys(_kept_out))  # None makes an import of it an ImportError
try:
    from sqlite_utils import Database, Migrations
finally:
    for _name in _kept_out:
        del _modules[_name]

__all__ = ["Database", "Migrations"]
