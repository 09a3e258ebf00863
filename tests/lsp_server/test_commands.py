"""Arguments of commands: one object, checked, whatever the client's JSON became on its way."""

from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.protocol import _dict_to_object

from learner.exceptions import RedraftError
from lsp_server.commands import COMMANDS, DraftArguments, RewriteArguments, Stretch, WhyArguments, arguments
from lsp_server.protocol import Malformed, plain

RANGE = {"start": {"line": 0, "character": 1}, "end": {"line": 2, "character": 3}}


def params(*given: Any) -> types.ExecuteCommandParams:
    return types.ExecuteCommandParams(command="redraft.x", arguments=list(given))


def test_the_public_names() -> None:
    names = ["rewrite", "draft", "apply", "accept", "reject", "status", "pause", "resume", "forget", "why"]
    names += ["consent", "configure", "learnt", "train"]
    assert sorted(COMMANDS) == sorted(f"redraft.{name}" for name in names)


def test_one_object() -> None:
    body = {"uri": "u", "range": RANGE, "instruction": "i"}
    expected = RewriteArguments("u", arguments(params({"uri": "u", "range": RANGE}), DraftArguments).range, "i")
    assert arguments(params(body), RewriteArguments) == expected
    assert arguments(params(_dict_to_object(body)), RewriteArguments) == expected
    assert expected.range.lsp() == types.Range(types.Position(0, 1), types.Position(2, 3))
    assert arguments(types.ExecuteCommandParams("x"), WhyArguments) == WhyArguments()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "missing required field `uri`"),
        (({}, {}), "expected one object, got 2 arguments"),
        (("u",), "expected `object`"),
        ((None,), "expected `object`, got `null`"),
        (({"uri": "u", "range": RANGE, "kind": "email", "model": "x"},), "unknown field `model`"),
        (({"uri": "u", "range": {**RANGE, "end": {"line": 1.5, "character": 0}}},), r"\$\.range\.end\.line"),
        (({"uri": 5, "range": RANGE},), r"\$\.uri"),
    ],
)
def test_refused(given: Any, words: str) -> None:
    with pytest.raises(JsonRpcInvalidParams, match=f"(?i)redraft.x: .*{words}"):
        arguments(params(*given), DraftArguments)


@pytest.mark.parametrize("line", [-1, 2**31])
def test_numbers_that_are_no_positions(line: int) -> None:
    given = arguments(
        params({"uri": "u", "range": {**RANGE, "end": {"line": line, "character": 0}}}), DraftArguments
    ).range
    assert isinstance(given, Stretch)
    with pytest.raises(RedraftError, match="no position"):
        given.lsp()


def test_plain_undoes_what_pygls_makes_of_json() -> None:
    body = {"a": [{"b": {"c": None}}], "d": "e"}
    assert plain(_dict_to_object(body)) == body


def test_a_malformed_message_names_its_document() -> None:
    assert Malformed({"params": {"textDocument": {"uri": "u"}}}, "").uri == "u"
    for body in ({}, {"params": 5}, {"params": {"textDocument": 5}}, {"params": {"textDocument": {"uri": 5}}}):
        assert Malformed(body, "").uri is None
