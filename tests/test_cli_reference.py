"""docs/cli.md is what the commands say of themselves."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_reference_is_current() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "cli_reference.py"))["reference"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == made, "run `make docs`"


def test_it_has_every_command_with_an_example() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = page.split("\n## ")[1:]
    assert {"`learner`", "`learner train`", "`learner edits stats`", "`redraft-lsp`"} <= {
        s.partition("\n")[0] for s in sections
    }
    for section in sections:
        title = section.partition("\n")[0]
        assert "Example" in section or title == "`learner`", title
