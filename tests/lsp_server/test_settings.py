"""`initializationOptions`, and what a workspace may take away."""

from typing import Any

import pytest

from learner.exceptions import ConfigError
from lsp_server.settings import from_client, restrict


def test_defaults() -> None:
    settings = from_client(None)
    assert settings == from_client({})
    assert settings.record is None
    assert (settings.settle.quiet_seconds, settings.settle.limit_seconds) == (60.0, 1800.0)
    assert settings.inline_completion.enabled
    assert settings.rewrites[0].title == "Fix spelling and grammar"


def test_names_are_camel_case() -> None:
    settings = from_client(
        {
            "record": True,
            "host": {"url": "http://localhost:1", "apiKey": "k"},
            "settle": {"quietSeconds": 5},
            "inlineCompletion": {"languages": ["python"], "debounceMs": 0},
            "rewrites": [{"title": "T", "instruction": "I"}],
            "bandit": "ucb",
        }
    )
    assert (settings.host.api_key, settings.settle.quiet_seconds, settings.bandit) == ("k", 5.0, "ucb")
    assert settings.inline_completion.languages == ["python"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"record": "true"}, r"\$\.record"),
        ({"record": 0}, r"\$\.record"),
        ({"Record": True}, "Record"),
        ({"settle": {"limitSeconds": 0}}, r"\$\.settle\.limitSeconds"),
        ({"settle": {"limitSeconds": 1e9}}, r"\$\.settle\.limitSeconds"),
        ({"inlineCompletion": {"languages": "python"}}, r"\$\.inlineCompletion\.languages"),
        ({"rewrites": [{"title": "", "instruction": "x"}]}, r"\$\.rewrites\[0\]\.title"),
        ("yes", "object"),
        (True, "object"),
    ],
)
def test_refused(options: Any, names: str) -> None:
    with pytest.raises(ConfigError, match=f"initializationOptions: .*{names}"):
        from_client(options)


@pytest.mark.parametrize(
    "said",
    [
        None, 5, [], "x", {}, {"record": True}, {"record": "false"}, {"record": None}, {"host": {"url": "http://evil"}},
        {"rewrites": [{"title": "x", "instruction": "y"}]}, {"inlineCompletion": {"enabled": True}},
        {"inlineCompletion": {"enabled": "false", "languages": "python"}}, {"settle": {"quietSeconds": 0.1}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("record", [None, True, False])
def test_a_workspace_gives_nothing(said: Any, record: bool | None) -> None:
    own = from_client({"record": record})
    assert restrict(own, said) == own


def test_a_workspace_takes_away() -> None:
    own = from_client({"record": True, "inlineCompletion": {"languages": ["python", "lua"]}})
    said = {"record": False, "inlineCompletion": {"enabled": False, "languages": ["lua", "c", 5]}}
    restricted = restrict(own, said)
    assert restricted.record is False
    assert not restricted.inline_completion.enabled
    assert restricted.inline_completion.languages == ["lua"]
    assert restricted.host == own.host
    everywhere = restrict(from_client({}), {"inlineCompletion": {"languages": ["lua"]}})
    assert everywhere.inline_completion.languages == ["lua"]
