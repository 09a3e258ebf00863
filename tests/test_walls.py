"""The walls: which package may import which, and that nothing light ever loads torch.

Directions are import-linter's contracts in `.importlinter`. That heavy packages stay out is checked
twice: in the source (no import of them at module level) and for real, in a process where fakes of
them earlier on the path note every attempt to load one.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = ROOT / ".importlinter"
HEAVY = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy", "scipy", "matplotlib", "xllamacpp")
TORCH_COUNTRY = ("learner.training", "learner.experiment")
"""Where torch is at home; only the command line goes there, and only inside a command."""
DEMO = "learner.demo"
"""Drives the real server as an editor would, so it speaks LSP; entered inside a command too."""


def within(module, *packages):
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def modules(*packages):
    """Dotted names of all modules of ours, by walking the folders."""
    found = []
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def source_of(module):
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


LIGHT = [m for m in modules("learner", "lsp_server", "plugins") if not within(m, *TORCH_COUNTRY)]


# Directions


def lint_imports(folder, config):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    return subprocess.run(
        [*command, "--no-cache", str(config)], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_imports_run_only_in_the_allowed_directions():
    linted = lint_imports(ROOT, CONTRACTS)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "0 broken" in linted.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("learner.records", "lsp_server.server"),
        ("learner.records", "plugins.feedback.sft"),
        ("lsp_server.server", "plugins.feedback.sft"),
        ("lsp_server.server", "learner.training.run"),
        ("lsp_server.server", "learner.cli"),
        ("plugins.feedback.sft", "lsp_server.server"),
        ("plugins.feedback.sft", "plugins.feedback.dpo"),
        ("plugins.bandits.ucb", "plugins.bandits.thompson"),
        ("plugins.feedback.sft", "learner.training.run"),
    ],
)
def test_the_contracts_notice_a_forbidden_import(tmp_path, module, imported):
    names = [
        "learner.cli",
        "learner.demo.run",
        "learner.records",
        "learner.training.run",
        "learner.commands.train",
        "lsp_server.server",
    ]
    names += ["plugins.feedback.sft", "plugins.feedback.dpo", "plugins.bandits.ucb", "plugins.bandits.thompson"]
    for name in names:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (*path.relative_to(tmp_path).parents,)[:-1]:
            (tmp_path / folder / "__init__.py").touch()
        path.write_text(f"def f():\n    import {imported}\n" if name == module else "")
    linted = lint_imports(tmp_path, shutil.copy(CONTRACTS, tmp_path))
    assert linted.returncode == 1
    assert "1 broken" in linted.stdout


# In the source


def imports(source):
    """(module, whether it is imported only inside a function) of every import that runs."""
    found = []

    def visit(node, lazy):
        if isinstance(node, ast.Import):
            found.extend((alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", lazy))
            found.extend((f"{node.module}.{alias.name}", lazy) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.orelse:
                visit(child, lazy)
        else:
            inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                visit(child, inside)

    visit(ast.parse(source), False)
    return found


def test_imports_are_told_apart():
    source = """
import a
if TYPE_CHECKING:
    import b
else:
    from c import d
class K:
    import e
    def f(self):
        from g import h
"""
    assert imports(source) == [("a", False), ("c", False), ("c.d", False), ("e", False), ("g", True), ("g.h", True)]


@pytest.mark.parametrize("module", LIGHT)
def test_no_heavy_import_at_module_level(module):
    found = imports(source_of(module).read_text(encoding="utf-8"))
    assert [name for name, lazy in found if within(name, *HEAVY) and not lazy] == []


@pytest.mark.parametrize("module", LIGHT)
def test_torch_country_and_the_demo_are_entered_only_by_a_command(module):
    found = imports(source_of(module).read_text(encoding="utf-8"))
    far = TORCH_COUNTRY if within(module, DEMO) else (*TORCH_COUNTRY, DEMO)
    entered = [x for x in found if within(x[0], *far)]
    if within(module, "learner.cli", "learner.commands"):
        entered = [(name, lazy) for name, lazy in entered if not lazy]
    assert entered == []


@pytest.mark.parametrize("module", [m for m in modules("learner", "plugins") if not within(m, DEMO)])
def test_the_learner_does_not_speak_lsp(module):
    found = imports(source_of(module).read_text(encoding="utf-8"))
    assert [name for name, _ in found if within(name, "lsprotocol", "pygls")] == []


# For real

TRAP = """
import sys
sprung = sys.__dict__.setdefault("sprung_traps", [])
sprung.append(__name__)
raise ImportError(f"booby trap: {__name__} was loaded")
"""

LOAD_ALL = """
import importlib, json, sys
report = {}
for name in sys.argv[1:]:
    sprung = sys.__dict__.setdefault("sprung_traps", [])
    sprung.clear()
    try:
        importlib.import_module(name)
        error = None
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    report[name] = [error, sorted(set(sprung))]
print(json.dumps(report))
"""

LOAD_PLUGINS = """
import sys
from learner import bandit, feedback
print(sorted(feedback.load(name).name for name in feedback.installed()))
print(sorted(bandit.load(name).name for name in bandit.installed()))
assert not sys.__dict__.get("sprung_traps"), sys.sprung_traps
"""


@pytest.fixture(scope="session")
def trapped(tmp_path_factory):
    """The environment of a process in which every heavy package is a booby trap."""
    folder = tmp_path_factory.mktemp("traps")
    for name in HEAVY:
        (folder / f"{name}.py").write_text(TRAP, encoding="utf-8")
    home = tmp_path_factory.mktemp("home")
    return os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "REDRAFT_HOME": str(home)}


def run_trapped(environment, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="session")
def loaded(trapped):
    """What happened when each light module was imported: (error, traps it sprang)."""
    done = run_trapped(trapped, "-c", LOAD_ALL, *LIGHT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", HEAVY)
def test_the_traps_work(trapped, name):
    done = run_trapped(trapped, "-c", f"import {name}")
    assert f"booby trap: {name} was loaded" in done.stderr


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_light_module_loads_nothing_heavy(loaded, module):
    assert loaded[module] == [None, []]


def test_loading_every_plugin_loads_nothing_heavy(trapped):
    done = run_trapped(trapped, "-c", LOAD_PLUGINS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['aligned', 'chipo', 'dpo', 'early_ensemble', 'rebel', 'rl', 'sft']",
        "['thompson', 'ucb']",
    ]


def commands():
    """Every console script whose module is there, with the arguments it must answer without torch."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    arguments = {"learner": [["--help"], ["plugins"], ["train", "--help"]], "redraft-lsp": [["--help"]]}
    for script, target in scripts.items():
        if find_spec(target.partition(":")[0]):
            yield from ((script, target, given) for given in arguments.get(script, [["--help"]]))


@pytest.mark.parametrize(("script", "target", "given"), list(commands()), ids=str)
def test_a_command_answers_without_anything_heavy(trapped, script, target, given):
    module, _, function = target.partition(":")
    code = f"import sys; sys.argv[0] = {script!r}; from {module} import {function} as main; main()"
    check = "assert not sys.__dict__.get('sprung_traps'), sys.sprung_traps"
    done = run_trapped(trapped, "-c", f"import atexit, sys; atexit.register(lambda: exec({check!r}))\n{code}", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "AssertionError" not in done.stderr
    assert done.stdout


COST = """
import sys
from learner.cost import cost
assert cost("Don't go", "Do go") == 1 / 3
assert not sys.__dict__.get("sprung_traps"), sys.sprung_traps
import numpy
assert sys.sprung_traps == ["numpy"], "numpy stays hidden from others"
"""


def test_the_cost_of_an_edit_loads_nothing_heavy_though_nltk_would(trapped):
    done = run_trapped(trapped, "-c", COST)
    assert "booby trap: numpy was loaded" in done.stderr
    assert "AssertionError" not in done.stderr, done.stderr
    plain = run_trapped(trapped, "-c", "import nltk, sys; print(sorted(set(sys.sprung_traps)))")
    assert plain.stdout.strip() == "['numpy', 'scipy']"
