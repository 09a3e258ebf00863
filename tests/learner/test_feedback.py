"""Discovery and validation of feedback types, and which rows teach what."""

import sys
from types import SimpleNamespace

import pytest
import torch

from learner.exceptions import PluginError
from learner.feedback import Signal, Teaches, TokenLogprobs, installed, load, teaches, usable_edits, validate

KEPT = frozenset({Signal.KEPT})


def plugin(**members):
    """A feedback type that keeps the contract, but for `members`; None takes a member away."""
    whole = {"name": "acme", "needs": KEPT, "loss": lambda batch: (batch, {})} | members
    return SimpleNamespace(**{name: member for name, member in whole.items() if member is not None})


def test_a_whole_plugin_passes():
    made = plugin(teaches=Teaches.COSTS, prepare=lambda edits, base: None)
    assert validate(made, "'acme'") is made


@pytest.mark.parametrize(
    ("broken", "member", "expected"),
    [
        ({"name": None}, "name", "an identifier such as 'sft'"),
        ({"name": "my-plugin"}, "name", "an identifier such as 'sft'"),
        ({"name": 3}, "name", "an identifier such as 'sft'"),
        ({"needs": None}, "needs", "a non-empty frozenset of learner.feedback.Signal"),
        ({"needs": frozenset()}, "needs", "a non-empty frozenset"),
        ({"needs": frozenset({"kept"})}, "needs", "a non-empty frozenset of learner.feedback.Signal"),
        ({"needs": [Signal.KEPT]}, "needs", "a non-empty frozenset"),
        ({"needs": frozenset({Signal.REFERENCE})}, "needs", "at least one of KEPT, OFFERED, CANDIDATES"),
        ({"loss": None}, "loss", "a method loss(batch) -> (Tensor, figures)"),
        ({"loss": 0.5}, "loss", "a method loss(batch) -> (Tensor, figures)"),
        ({"loss": lambda: None}, "loss", "callable with 1 argument(s)"),
        ({"loss": lambda batch, model: None}, "loss", "callable with 1 argument(s)"),
        ({"prepare": "later"}, "prepare", "a method prepare(edits, base) -> Prepared"),
        ({"prepare": lambda edits: None}, "prepare", "callable with 2 argument(s)"),
        ({"needs": frozenset({Signal.CANDIDATES})}, "prepare", "a method that makes the candidates"),
        ({"teaches": "everything"}, "teaches", "one of labels, preferences, costs"),
        ({"teaches": ["labels"]}, "teaches", "one of labels, preferences, costs"),
    ],
)
def test_every_broken_member_is_named_with_what_was_expected(broken, member, expected):
    with pytest.raises(PluginError) as caught:
        validate(plugin(**broken), "'acme' (acme:Plugin)")
    message = str(caught.value)
    assert message.startswith(f"feedback type 'acme' (acme:Plugin): `{member}` should be ")
    assert expected in message


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Puts a distribution on sys.path: its module's source and its entry points."""

    def installed_package(distribution, source, **points):
        module = distribution.replace("-", "_")
        site = tmp_path / distribution
        metadata = site / f"{module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {module}:{target}" for name, target in points.items()]
        (metadata / "entry_points.txt").write_text("\n".join(["[redraft.feedback]", *lines, ""]))
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return installed_package


GOOD = """
from learner.feedback import Signal

class Plugin:
    name = "acme"
    needs = frozenset({Signal.KEPT})
    def loss(self, batch):
        return batch.kept.sum().mean(), {}

def make():
    return Plugin()

MADE = Plugin()
"""


@pytest.mark.parametrize("target", ["Plugin", "make", "MADE"])
def test_a_class_a_function_or_an_object_can_be_the_plugin(package, target):
    package("acme-feedback", GOOD, acme=target)
    assert "acme" in installed()
    assert load("acme").needs == KEPT


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(PluginError, match=r"no feedback type 'acme' is installed; there are: .*dpo.*sft"):
        load("acme")


def test_a_plugin_that_fails_on_import_is_named_with_its_error(package):
    package("acme-broken", "raise RuntimeError('no licence')\n", acme_broken="Plugin")
    with pytest.raises(PluginError, match=r"'acme_broken' \(acme_broken:Plugin\) cannot be loaded: RuntimeError: no"):
        load("acme_broken")
    assert "acme_broken" in installed()  # listed all the same, for `learner plugins`


def test_a_plugin_that_is_not_where_it_says(package):
    package("acme-lost", GOOD, acme_lost="Nothing")
    with pytest.raises(PluginError, match=r"'acme_lost'.* cannot be loaded: AttributeError"):
        load("acme_lost")


def test_a_plugin_whose_constructor_fails(package):
    package("acme-picky", GOOD.replace("def make():", "def make(size):"), acme_picky="make")
    with pytest.raises(PluginError, match=r"'acme_picky'.* cannot be loaded: TypeError"):
        load("acme_picky")


def test_a_broken_plugin_does_not_hide_the_others(package):
    package("acme-half", GOOD.replace('name = "acme"', "name = None"), acme_half="Plugin")
    with pytest.raises(PluginError, match=r"'acme_half' \(acme_half:Plugin\): `name` should be an identifier"):
        load("acme_half")
    assert load("sft").name == "sft"


def test_a_name_that_differs_from_its_entry_point(package):
    package("acme-alias", GOOD, alias="Plugin")
    with pytest.raises(PluginError, match="`name` is 'acme', but its entry point says 'alias'"):
        load("alias")


def test_two_packages_that_claim_one_name(package):
    package("acme-one", GOOD, acme="Plugin")
    package("acme-two", GOOD, acme="Plugin")
    with pytest.raises(PluginError, match=r"'acme' is claimed twice, by acme_(one|two):Plugin and acme_(one|two):Plug"):
        load("acme")


def test_a_stranger_cannot_replace_a_built_in(package):
    package("acme-sft", GOOD, sft="Plugin")
    with pytest.raises(PluginError, match="'sft' is claimed twice"):
        load("sft")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, Teaches.LABELS),
        ({"needs": frozenset({Signal.KEPT, Signal.OFFERED})}, Teaches.PREFERENCES),
        ({"needs": frozenset({Signal.KEPT, Signal.CANDIDATES})}, Teaches.COSTS),
        ({"teaches": Teaches.COSTS}, Teaches.COSTS),
        ({"teaches": "preferences"}, Teaches.PREFERENCES),
    ],
)
def test_what_teaches_it_is_declared_or_follows_from_its_needs(members, expected):
    assert teaches(plugin(**members)) is expected


def row(outcome, offered="offer", kept="kept"):
    return SimpleNamespace(outcome=outcome, offered=offered, kept=kept)


ROWS = [
    row("accepted"),
    row("edited"),
    row("rejected", kept=None),
    row("ignored", kept=None),
    row("censored"),
    row(None, kept=None),
    row("edited", offered=""),
    row("edited", kept=""),
]


@pytest.mark.parametrize(
    ("kind", "outcomes"),
    [
        (Teaches.LABELS, ["accepted", "edited"]),
        (Teaches.PREFERENCES, ["edited"]),
        (Teaches.COSTS, ["accepted", "edited", "rejected"]),
    ],
)
def test_the_table_what_a_row_teaches(kind, outcomes):
    assert [r.outcome for r in usable_edits(ROWS, kind)] == outcomes


def test_token_logprobs_count_only_their_tokens():
    policy = torch.tensor([[-1.0, -2.0, -9.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    texts = TokenLogprobs(policy, mask, reference=policy * 2)
    assert texts.sum().tolist() == [-3.0, 0.0]
    assert texts.reference_sum().tolist() == [-6.0, 0.0]
    assert texts.lengths().tolist() == [2, 1]
    with pytest.raises(PluginError, match=r"add Signal\.REFERENCE to `needs`"):
        TokenLogprobs(policy, mask).reference_sum()
