"""Real editors with the real server: the model host and the homes of the end-to-end tests."""

import importlib.util
import sys
from pathlib import Path

E2E = Path(__file__).parents[1] / "e2e"
sys.path.append(str(E2E))  # editor_client: the rows of a home

# Two files called conftest cannot import one another by name.
_spec = importlib.util.spec_from_file_location("e2e_fixtures", E2E / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

warm = _fixtures.warm
home = _fixtures.home
bare = _fixtures.bare
own = _fixtures.own

import emacs_here  # noqa: E402 - these need the path above
import nvim_desk  # noqa: E402
import vscode_window  # noqa: E402

session = emacs_here.session

start = nvim_desk.start
shared = nvim_desk.shared
desk = nvim_desk.desk

folder = vscode_window.folder
log = vscode_window.log
tapped = vscode_window.tapped
