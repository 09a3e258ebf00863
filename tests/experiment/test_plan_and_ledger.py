"""Plans are strict and identified; a run's rows belong to one plan, and survive."""

import multiprocessing
import sqlite3
from importlib import resources

import msgspec
import pytest

from learner.exceptions import ConfigError
from learner.experiment.ledger import Answer, Ledger
from learner.experiment.plan import Dials, Plan, load
from learner.experiment.protocol import BASE, Fit, picked
from learner.experiment.rules import RULES


@pytest.mark.parametrize("size", ["tiny", "smollm2"])
def test_plans_hold_what_they_promise(size):
    plan = load(size)
    assert plan.seeds >= 3
    assert plan.rounds == 200
    assert {user for _, user in plan.settings} == {"strong", "weak"}
    for domain in plan.domains.values():
        for kind in domain.kinds.values():
            assert set(kind.rules) <= set(RULES)
            assert plan.users.subset / len(kind.rules) < 0.5
        wishes = [kind.rules for kind in domain.kinds.values()]
        assert len(set(wishes)) == len(wishes)  # the kind decides
    for name in plan.feedback:
        assert plan.grid[name]


def test_a_plan_with_an_unknown_setting_is_refused():
    body = (resources.files("learner.experiment") / "plans" / "tiny.toml").read_text()
    msgspec.toml.decode(body, type=Plan)
    with pytest.raises(msgspec.ValidationError, match="speed"):
        msgspec.toml.decode(f"speed = 3\n{body}", type=Plan)


def test_the_digest_changes_with_every_setting():
    plan = load("tiny")
    assert plan.digest == load("tiny").digest
    assert msgspec.structs.replace(plan, rounds=100).digest != plan.digest


def test_there_is_no_plan_of_another_size():
    with pytest.raises(ConfigError, match="no plan for size 'huge'"):
        load("huge")


def test_a_folder_of_another_run_is_refused(tmp_path):
    Ledger(tmp_path, {"plan": "a", "base": "x"}).close()
    Ledger(tmp_path, {"plan": "a", "base": "x"}).close()
    with pytest.raises(ConfigError, match="was made with plan a, and this is b: give another --out"):
        Ledger(tmp_path, {"plan": "b", "base": "x"})


def test_a_run_of_another_version_is_refused(tmp_path):
    Ledger(tmp_path, {}).close()
    with sqlite3.connect(tmp_path / "run.db") as db:
        db.execute("UPDATE meta SET value = '0' WHERE key = 'layout'")
    with pytest.raises(ConfigError, match="was made with layout 0, and this is 1"):
        Ledger(tmp_path, {})


def test_rows_come_back(tmp_path):
    ledger = Ledger(tmp_path, {})
    ledger.put_answers("a", {"d1": Answer("One.", False), "d2": Answer("Two", True)})
    ledger.put_fit("a", "sft", {"epochs": 2}, {"kept_loss": 0.5})
    ledger.put_costs(("email", "weak"), 1, "strong", "sft", [0.1], [0.2])
    ledger.close()
    again = Ledger(tmp_path, {})
    assert again.answers("a") == {"d1": Answer("One.", False), "d2": Answer("Two", True)}
    assert again.answers("b") == {}
    assert again.fits() == {"a": {"feedback": "sft", "dials": {"epochs": 2}, "kept_loss": 0.5}}
    assert again.costs() == [
        {"domain": "email", "user": "weak", "seed": 1, "tester": "strong", "method": "sft", "costs": [0.1],
         "bounded": [0.2]}
    ]  # fmt: skip
    again.close()


def _write(folder, name):
    ledger = Ledger(folder, {})
    for number in range(30):
        ledger.put_answers(name, {str(number): Answer("x", False)})
    ledger.close()


@pytest.mark.slow
def test_several_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, f"arm{i}")) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    ledger = Ledger(tmp_path, {})
    assert [len(ledger.answers(f"arm{i}")) for i in range(3)] == [30, 30, 30]
    ledger.close()


def test_the_lowest_held_out_log_loss_picks_the_dials(tmp_path):
    plan, ledger = load("tiny"), Ledger(tmp_path, {})
    for dials, loss in zip(plan.grid["dpo"], (2.0, 1.2, 1.5), strict=True):
        ledger.put_fit(Fit(plan.settings[0], 0, "dpo", dials).arm, "dpo", {}, {"kept_loss": loss})
    assert picked(plan, ledger, "dpo") == plan.grid["dpo"][1]
    assert picked(plan, ledger, "rl") == Dials()
    ledger.close()


def test_nothing_of_the_hidden_kind_is_in_a_prompt(tmp_path):
    """No rule's name or words, no kind, no style: the user alone knows them."""
    from learner.experiment.protocol import documents
    from learner.experiment.rules import CLOSINGS, OPENINGS

    plan = load("tiny")
    for domain, here in plan.domains.items():
        split = documents(plan, domain, 0, tmp_path)
        secret = [*OPENINGS.values(), *CLOSINGS.values(), *(k.style for k in here.kinds.values())]
        for case in (*split.offline, *split.pool):
            asked = "\n".join(m.content for m in case.prompt.messages)
            head = asked.replace(case.prompt.messages[-1].content.partition("\n\n")[2], "")
            assert not [words for words in secret if words in asked]
            assert not [name for name in (*here.kinds, *RULES, BASE) if name in head.split()]
