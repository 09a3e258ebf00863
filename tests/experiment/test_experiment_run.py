"""A whole run on the tiny base: the product's training, resumed after a kill, the same table each time."""

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest
from polling import until

from learner.exceptions import ConfigError, RedraftError
from learner.experiment import plan as plans
from learner.experiment.ledger import Ledger
from learner.experiment.online import cells
from learner.experiment.page import render
from learner.experiment.protocol import Cast, documents
from learner.experiment.reproduce import result
from learner.experiment.run import Place, done, remaining, sweep, work
from learner.experiment.users import LanguageModel

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("experiment-run")]  # they share one run
NOWHERE = Path("nowhere")
"""No corpora: documents of this machine."""


def small():
    """The tiny plan, smaller: one seed, two settings, two feedback types, short."""
    plan = plans.load("tiny")
    return msgspec.structs.replace(
        plan,
        seeds=1,
        offline=16,
        held_out=4,
        pool=8,
        rounds=24,
        epochs=1,
        settings=(("summarization", "strong"), ("summarization", "weak")),
        feedback=("sft", "dpo"),
        beyond=("aligned",),
        crossed=(),
        grid={"sft": plan.grid["sft"], "dpo": plan.grid["dpo"][:1]},
        growth=msgspec.structs.replace(plan.growth, rounds=1, seeds=1),
        domains={"summarization": msgspec.structs.replace(plan.domains["summarization"], max_tokens=24)},
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny base, made from few documents, and an empty run."""
    from learner.experiment import tiny

    tiny_steps, tiny.STEPS = tiny.STEPS, 60
    folder = tmp_path_factory.mktemp("run")
    plan = small()
    split = documents(plan, "summarization", 0, NOWHERE)
    try:
        base = tiny.base(folder, plan, [*split.offline, *split.held], lambda *_: None)
    finally:
        tiny.STEPS = tiny_steps
    return Place(folder, NOWHERE, base, plan, Cast())


PROGRAM = """
import sys, pickle
from pathlib import Path
from learner.experiment.run import work
if __name__ == "__main__":
    work(pickle.loads(Path(sys.argv[1]).read_bytes()), 1, lambda words, share: print(words, flush=True))
"""


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    """The run, killed after its first training and then gone on with; what was trained before the kill."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "place").write_bytes(pickle.dumps(place))
    (folder / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(folder / "program.py"), str(folder / "place")],
        stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    ledger = place.ledger()
    until(lambda: len(ledger.fits()) >= 1 or process.poll() is not None, "the first training", 200)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = ledger.fits()
    ledger.close()
    assert before
    assert not psutil.wait_procs(children, timeout=60)[1]  # none is left behind
    work(place, 1, lambda *_: None)
    return before


@pytest.mark.timeout(600)  # several processes load torch one after the other
def test_a_killed_run_goes_on_and_a_finished_one_has_nothing_to_do(place, finished):
    ledger = place.ledger()
    assert {arm: fit for arm, fit in ledger.fits().items() if arm in finished} == finished  # not done again
    assert all(done(unit, place.plan, ledger) for unit in [*sweep(place.plan), *remaining(place.plan, ledger)])
    ledger.close()
    said = []
    work(place, 1, lambda words, _share: said.append(words))
    assert said == []  # nothing is left, so no process is begun


def test_the_result_has_every_row(place, finished):
    found = result(place, 1.0)
    body = json.loads(json.dumps(found.to_json()))
    methods = {row["method"] for row in body["rows"]}
    assert {"base", "sft", "dpo", "aligned", "late_ensemble", "late_ensemble (contextual)"} <= methods
    assert set(body["max_subopt"]) == {"base", "sft", "dpo", "late_ensemble"}
    assert set(body["regret"]["late_ensemble"]) == {"summarization/strong", "summarization/weak"}
    assert any("rate_scale 0.3" in arm for arm in body["fits"])  # the sweep is reported whole
    assert {len(lines["strong"][1]) for lines in body["curves"].values()} == {1}
    assert result(place, 1.0).to_json() == found.to_json()


def test_costs_are_rows_in_sqlite(place, finished):
    ledger = place.ledger()
    found = cells(place, ledger)
    rows = ledger.costs()
    ledger.close()
    assert len(rows) == len(found) > 0
    assert all(len(row["costs"]) == place.plan.rounds for row in rows)


def test_another_plan_in_the_same_folder_is_refused(place, finished):
    other = replace(place, plan=msgspec.structs.replace(place.plan, rounds=25))
    with pytest.raises(ConfigError, match="was made with plan"):
        work(other, 1, lambda *_: None)


def test_the_page_shows_the_run(place, finished):
    html = render(result(place, 60.0))
    assert html.count("<svg") == 5
    assert "early_ensemble" in html  # the poster's rows
    assert "rate_scale 0.3" in html


def test_the_base_is_asked_about_every_document(place, finished):
    ledger = Ledger(place.folder, {})
    base = ledger.answers("summarization/0/base")
    ledger.close()
    split = documents(place.plan, "summarization", 0, NOWHERE)
    assert set(base) == {case.id for part in (split.offline, split.held, split.pool) for case in part}


def test_an_error_in_a_worker_comes_out_as_it_is(place, tmp_path):
    """A user's model that does not answer: its own message, and the run can go on."""
    nobody = Cast(LanguageModel("http://127.0.0.1:9", "m"), cache=tmp_path / "user")
    other = replace(place, folder=tmp_path / "llm", cast=nobody)
    with pytest.raises(RedraftError, match=r"the user's model at http://127\.0\.0\.1:9 did not answer"):
        work(other, 1, lambda *_: None)
    ledger = other.ledger()
    assert ledger.answers("summarization/0/base")  # what was done is kept
    ledger.close()
