"""Where a draft goes, and how it looks there."""

import pytest
from sample_offers import offer

from lsp_server.delta import Position
from lsp_server.document import Document
from lsp_server.placement import placed, shaped
from lsp_server.session import Session
from lsp_server.span import Span


def stands(text: str, notes: str, answer: str, kind: str, language: str = "markdown") -> str:
    """The document after the answer was put in."""
    session = Session(Document("u", text, 1, language, "utf-32"), "w")
    at = text.index(notes)
    span = Span.placed(notes, session.document.position(at), session.document.position(at + len(notes)))
    made = shaped(session, span, offer(answer), kind)
    put = placed(session, span, made, kind)
    session.document.replace(put.start, put.end, put.lead + put.text + put.tail)
    return session.document.text()


@pytest.mark.parametrize(
    ("code", "notes", "result"),
    [
        ("def f(x):\n    return x\n", "def f(x):\n    return x",
         'def f(x):\n    """One.\n\n    Two."""\n    return x\n'),
        ("class A:\n  pass\n", "class A:", 'class A:\n  """One.\n\n  Two."""\n  pass\n'),
        ("\tasync def f(\n\t\tx, # a:\n\t):\n\t\tpass\n", "async def f(\n\t\tx, # a:\n\t):",
         '\tasync def f(\n\t\tx, # a:\n\t):\n\t\t"""One.\n\n\t\tTwo."""\n\t\tpass\n'),
        ("def f(): # why:\r\n    pass\r\n", "def f():",
         'def f(): # why:\r\n    """One.\r\n\r\n    Two."""\r\n    pass\r\n'),
        ("x = 1\n", "x = 1", "x = 1\n\nOne.\n\nTwo.\n"),
    ],
)  # fmt: skip
def test_docstrings(code: str, notes: str, result: str) -> None:
    assert stands(code, notes, "One.\n\nTwo.", "docstring", "python") == result


def test_a_docstring_never_ends_early() -> None:
    result = stands("def f():\n    pass\n", "def f():", '"""Say """hi""" to it."""', "docstring", "python")
    assert result == "def f():\n    \"\"\"Say '''hi''' to it.\"\"\"\n    pass\n"
    compile(result, "a.py", "exec")


def test_commit_messages() -> None:
    assert stands("\n# diff\n", "# diff", "Fix it", "commit", "gitcommit") == "Fix it\n\n# diff\n"
    assert stands("a diff", "a diff", "Fix it", "commit", "diff") == "a diff\n\nFix it"


def test_under_the_notes() -> None:
    assert stands("- one\n- two\n\nEnd.\n", "- one\n- two", "A\nB", "email") == "- one\n- two\n\nA\nB\n\nEnd.\n"
    assert stands("one two\nEnd.", "one", "A", "summary") == "one two\n\nA\nEnd."
    assert stands("one\rEnd.", "one", "A\nB", "summary") == "one\r\rA\rB\rEnd."


def test_before_finds_the_way_back() -> None:
    document = Document("u", "ab\r\ncd\ne", 1, "text", "utf-32")
    assert document.before(Position(2, 1), 4) == Position(1, 0)
    assert document.before(Position(1, 1), 2) == Position(0, 3)
    assert document.before(Position(0, 1), 5) == Position(0, 0)
