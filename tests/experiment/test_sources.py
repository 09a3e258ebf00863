"""The experiment's documents: where they come from, what is taken out of them."""

import json

import pytest

from learner.exceptions import ConfigError
from learner.experiment.protocol import documents
from learner.experiment.sources import load, scrub

PROSE = (
    "The committee came together on Monday evening in the old town hall. It spoke for an hour about the new bridge "
    "and about who would pay for it. {}"
)
TAGGED = """

\tThe/at jury/nn said/vbd ``/`` no/at evidence/nn ''/'' was/bedz found/vbn ,/, and/cc that/cs it/pps was/bedz bad/jj ./.
It/pps praised/vbd the/at city/nn (/( and/cc its/pp$ people/nns )/) for/in the/at manner/nn of/in it/ppo ./.

A/at-hl Heading/nn-hl


\tHe/pps left/vbd ./.
"""


def test_addresses_numbers_names_and_secrets_are_taken_out():
    text = "Dear Anna Smith,\nwrite to anna.smith@example.com or call +1 (555) 123-4567, see https://example.com/x?y=1."
    found = scrub(text)
    assert found.startswith("Dear you,")
    for part in ("anna", "555", "example.com"):
        assert part not in found


def test_a_folder_of_ones_own(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(PROSE.format(f"Then number {number} of them went home early."))
    (tmp_path / "short.md").write_text("Too short.")
    found = load(f"folder:{tmp_path}", tmp_path, (12, 60), 0)
    assert len(found) == 3 or len({t.body for t in found}) == len(found)
    assert all("committee" in t.body for t in found)


def test_jsonl_of_ones_own(tmp_path):
    file = tmp_path / "d.jsonl"
    file.write_text("\n".join(json.dumps({"text": f"{word} " * 9}) for word in ("alpha", "beta")))
    assert sorted(t.body.split()[0] for t in load(f"jsonl:{file}", tmp_path, (1, 99), 0)) == ["alpha", "beta"]
    file.write_text('{"text": "fine"}\n{"body": 1}\n')
    with pytest.raises(ConfigError, match=r"line 2: expected an object with a `text`"):
        load(f"jsonl:{file}", tmp_path / "again", (1, 99), 0)


def test_brown_passages_are_whole_sentences_of_one_paragraph(tmp_path):
    folder = tmp_path / "brown"
    folder.mkdir()
    (folder / "ca01").write_text(TAGGED)
    (text,) = load("brown:news", tmp_path, (12, 60), 0)
    assert text.body == (
        'The jury said "no evidence" was found, and that it was bad. '
        "It praised the city (and its people) for the manner of it."
    )


def test_what_is_not_there_is_said_with_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="no kind 'novels'; there are library"):
        load("novels", tmp_path, (1, 9), 0)
    with pytest.raises(ConfigError, match="no genre 'poems'"):
        load("brown:poems", tmp_path, (1, 9), 0)
    with pytest.raises(ConfigError, match=r"docs/reproduce\.md"):
        load("brown:news", tmp_path, (1, 9), 0)
    with pytest.raises(ConfigError, match="no such folder"):
        load(f"folder:{tmp_path / 'no'}", tmp_path, (1, 9), 0)


@pytest.mark.parametrize("spec", ["library", "reference", "functions", "classes", "added", "removed"])
def test_every_machine_has_documents(spec, tmp_path):
    found = load(spec, tmp_path, (8, 30), 0)
    assert len(found) >= 40
    assert [t.body for t in found] == [t.body for t in load(spec, tmp_path, (8, 30), 0)]
    assert [t.body for t in found] != [t.body for t in load(spec, tmp_path, (8, 30), 1)]


def test_the_machines_plan_has_enough_of_them_and_none_in_two_parts(tmp_path):
    from learner.experiment.plan import load as load_plan

    plan = load_plan("tiny")
    seen = set()
    for domain in plan.domains:
        split = documents(plan, domain, 0, tmp_path)
        assert (len(split.offline), len(split.held), len(split.pool)) == (plan.offline, plan.held_out, plan.pool)
        ids = {case.id for part in (split.offline, split.held, split.pool) for case in part}
        assert len(ids) == plan.offline + plan.held_out + plan.pool
        assert not ids & seen
        seen |= ids


def test_too_few_documents_are_refused_before_anything_is_done(tmp_path):
    import msgspec

    from learner.experiment.plan import load as load_plan

    plan = msgspec.structs.replace(load_plan("tiny"), offline=100_000)
    with pytest.raises(ConfigError, match=r"holds \d+ documents .* needs \d+"):
        documents(plan, "summarization", 0, tmp_path)


def test_a_kinds_documents_can_come_from_elsewhere(tmp_path):
    from learner.experiment.plan import load as load_plan

    file = tmp_path / "mine.jsonl"
    file.write_text(
        "\n".join(json.dumps({"text": f"Mine number {i}: {chr(97 + i % 26) * (i + 1)}."}) for i in range(150))
    )
    plan = load_plan("tiny").reading({"function": f"jsonl:{file}"})
    split = documents(plan, "summarization", 0, tmp_path)
    mine = [case for case in split.offline if case.kind == "function"]
    assert len(mine) == 32
    assert all("Mine number" in case.prompt.messages[-1].content for case in mine)
    assert plan.digest != load_plan("tiny").digest
    with pytest.raises(ConfigError, match="has no kind 'news'; it has change, function, manual"):
        load_plan("tiny").reading({"news": "library"})
