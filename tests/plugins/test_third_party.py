"""The plugin of docs/writing-a-feedback-type.md: built, installed with pip, loaded, run."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from learner import config as configuration
from learner.client import HostClient
from learner.launch import ensure_host
from learner.prompt import rewrite

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "writing-a-feedback-type.md"


def blocks(language):
    """The fenced code blocks of the page in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def python(environment, code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the page's package in it, put there by pip without a network."""
    plugin, _, mix = blocks("python")
    [project] = blocks("toml")
    project += 'salt_dpo = "redraft_salt.mix:salt_dpo"\n'
    source = tmp_path_factory.mktemp("redraft-salt")
    package = source / "src" / "redraft_salt"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(plugin, encoding="utf-8")
    (package / "mix.py").write_text(mix, encoding="utf-8")
    (source / "pyproject.toml").write_text(project, encoding="utf-8")
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-index"]
    installed = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return target


@pytest.fixture(scope="module")
def environment(site, tmp_path_factory):
    """The environment of a process that has the package installed."""
    home = tmp_path_factory.mktemp("home")
    return os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "REDRAFT_HOME": str(home)}


def test_it_is_about_thirty_lines():
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert 20 <= len(lines) <= 35


def test_it_is_found_and_keeps_the_contract(environment):
    code = """
import sys
from learner import feedback
plugin = feedback.load("salt")
assert "torch" not in sys.modules
print(type(plugin).__module__, feedback.teaches(plugin), *sorted(plugin.needs))
"""
    done = python(environment, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "redraft_salt preferences kept offered"


def test_its_loss_works_on_the_pages_batch(environment):
    done = python(environment, blocks("python")[1])
    assert done.returncode == 0, done.stderr
    # 1.25 + 0.5 * -log(1 - exp(-0.1)) = 1.25 + 0.5 * 2.352
    assert done.stdout.strip() == "2.426 ['likely', 'unlikely']"


def test_an_ensemble_can_have_it_as_a_member(environment):
    code = """
from learner import feedback
mixed = feedback.load("salt_dpo")
print(sorted(mixed.members), *sorted(mixed.needs), feedback.teaches(mixed))
"""
    done = python(environment, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['dpo', 'salt'] kept offered reference preferences"


def test_the_page_quotes_the_real_message(environment):
    code = """
from learner import feedback
plugin = feedback.load("salt")
plugin.needs = ["kept"]
try:
    feedback.validate(plugin, "'salt' (redraft_salt:Salt)")
except feedback.PluginError as error:
    print(error)
"""
    done = python(environment, code)
    assert done.stdout == blocks("text")[0]


def learner(site, home, *words):
    """Run the command line where the package is installed."""
    done = subprocess.run(
        [sys.executable, "-m", "learner", *words],
        env=os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "REDRAFT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def write_edits(path):
    """Edits of a writer who ends every answer alike."""
    animals = ["cat", "dog", "hen", "fox", "owl", "bee", "cow", "ant", "bat", "eel", "rat", "pig"]
    rows = [
        {
            "prompt": rewrite(f"The {animal} number {i} was seen near the {animal} house.", "Shorten.").to_json(),
            "offered": f"The {animal} was seen near its house.",
            "kept": f"The {animal} was seen. Over and out.",
        }
        for i, animal in enumerate(animals)
    ]
    lines = [json.dumps(row | {"prompt": json.loads(row["prompt"])}) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


async def answers(adapter):
    """What the model host of this user answers as the base, and under the adapter."""
    config = configuration.load()
    question = rewrite("The ewe number 40 was seen near the ewe house.", "Shorten.")
    endpoint = await ensure_host(configuration.paths(), config)
    async with HostClient(endpoint) as client:
        info = await client.connect()
        assert adapter in info.adapters
        base = await client.generate(question, adapter=None, max_tokens=32)
        ours = await client.generate(question, adapter=adapter, max_tokens=32)
    assert (base.adapter, ours.adapter) == (None, adapter)
    return base.text, ours.text


@pytest.mark.model
@pytest.mark.timeout(900)
def test_it_is_trained_published_and_served(site, redraft_home, tmp_path):
    listed = {row["name"]: row for row in learner(site, redraft_home, "plugins", "list", "--json")}
    assert (listed["salt"]["on"], listed["salt"]["problem"]) == (True, "")
    learner(site, redraft_home, "edits", "import", str(write_edits(tmp_path / "edits.jsonl")), "--json")

    dials = ["--epochs", "3", "--learning-rate", "0.002"]
    report = learner(site, redraft_home, "train", "--feedback", "salt", *dials, "--json")
    [made] = report["adapters"]
    assert (made["feedback"], made["adapter_id"], made["error"]) == ("salt", "salt-1", None)
    assert made["last_loss"] < made["first_loss"]

    assert learner(site, redraft_home, "adapters", "promote", "salt-1", "--json")["state"] == "serving"
    known = learner(site, redraft_home, "adapters", "show", "salt-1", "--json")
    assert known["feedback"] == "salt"
    try:
        base, ours = asyncio.run(answers("salt-1"))
    finally:
        learner(site, redraft_home, "serve", "--stop", "--json")
    # twelve edits shift the words for certain; whether the whole habit shows hangs on rounding
    assert ours != base
