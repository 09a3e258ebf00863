"""Vim with ALE in a terminal, set up as docs/editors.md says. `apt-get install vim vim-ale`, `pip install pyte`."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from editor_client import rows
from polling import until_async

pytest.importorskip("pyte", reason="no terminal emulator here: pip install pyte")

from terminal import terminal

from learner.cost import cost_max

VIM = os.environ.get("REDRAFT_VIM") or shutil.which("vim")
ALE = Path(os.environ.get("REDRAFT_ALE", "/usr/share/vim-ale"))
NOTES = "Sales rose 4 percent in May. Two stores opened in the north, and a third one is being built."
pytestmark = [
    pytest.mark.editors,
    pytest.mark.model,
    pytest.mark.skipif(VIM is None, reason="no Vim here: apt-get install vim, or REDRAFT_VIM"),
    pytest.mark.skipif(not (ALE / "plugin").is_dir(), reason="no ALE here: apt-get install vim-ale, or REDRAFT_ALE"),
]
SETTINGS = """
set nocompatible
filetype plugin on
let g:ale_linters_explicit = 1
let g:ale_linters = {'markdown': ['redraft'], 'text': ['redraft']}
for s:type in ['markdown', 'text']
  call ale#linter#Define(s:type, {
  \\ 'name': 'redraft',
  \\ 'lsp': 'stdio',
  \\ 'executable': '%(executable)s',
  \\ 'command': '%%e%(arguments)s',
  \\ 'project_root': {buffer -> fnamemodify(bufname(buffer), ':p:h')},
  \\ 'initialization_options': {'record': v:true},
  \\ })
endfor
"""


def in_vim(home: Path, file: Path):  # type: ignore[no-untyped-def]
    """Vim with a file, in a terminal."""
    assert VIM is not None
    settings = file.with_name("vimrc")
    here = {"executable": sys.executable, "arguments": " -m lsp_server.cli"}
    settings.write_text(f"set runtimepath+={ALE}\nruntime plugin/ale.vim\n{SETTINGS % here}")
    return terminal(VIM, "-N", "-i", "NONE", "-u", str(settings), str(file), REDRAFT_HOME=str(home), HOME=str(home))


async def settled(home: Path) -> None:
    await until_async(lambda: rows(home) and all(row.outcome for row in rows(home)), "every offer settled")


async def test_a_draft_from_the_code_actions(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text(f"{NOTES}\n")
    async with in_vim(home, file) as it:
        await it.shows(NOTES[:40])
        it.type("V:ALECodeAction\r")
        await it.shows("Make it shorter", "Draft: summary", "Type number and <Enter>")
        it.type("4\r")
        await until_async(lambda: it.screen.display[2].strip(" ~"), "the draft under the notes", 60)
        it.type(":ALELint\r")  # tell the server at once, as a moment without a key does
        it.type(":3\rcwWell\x1b:w\r")
        await it.shows("written")
        it.type(":bdelete\r")
        await settled(home)
        it.type(":qall!\r")
        await it.ended.wait()
    [row] = rows(home)
    assert (row.task, row.document, row.language) == ("draft", file.as_uri(), "markdown")
    assert row.offered is not None
    kept = "Well" + row.offered[len(row.offered.split()[0]) :]
    assert (row.outcome, row.kept) == ("edited", kept)
    assert row.cost_max == cost_max(row.offered, kept)
    assert file.read_text() == f"{NOTES}\n\n{kept}\n"
