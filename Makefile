# The commands of the project. They need make, Python 3.11 or newer and a C++ compiler; all else is
# installed into .venv, once, and again when pyproject.toml or the core in C++ changes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -qq

# Recipes share one environment, and pip must not run twice in it at a time.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(READY)-demo ## learn handwritten digits, explain one gradient and prove it
	@$(BIN)/chainrule demo

.PHONY: explore
explore: $(READY)-explorer ## open the explorer in the browser (EXPLORE="--dataset moons" to choose)
	@$(BIN)/chainrule explore $(EXPLORE)

.PHONY: test
test: $(READY)-test ## run every test that needs no extra package (PYTEST="-k name" to choose)
	@$(BIN)/python -m pytest $(PYTEST)

.PHONY: lint
lint: $(READY)-lint ## check style (ruff) and types (mypy)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: format
format: $(READY)-lint ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(READY)-bench ## measure beside other libraries, on a quiet machine, for docs/benchmarks.md
	@$(BIN)/python -m benchmarks

.PHONY: bench-quick
bench-quick: $(READY)-bench ## the same in about two minutes, nothing compiled, printed only
	@$(BIN)/python -m benchmarks --quick

.PHONY: screenshots
screenshots: $(READY)-test ## take the pictures of the explorer in README.md and docs (needs Chromium)
	@$(BIN)/python docs/screenshots.py

.PHONY: explorer-load
explorer-load: $(READY)-test ## 200 sessions at once, with clients that vanish, and longer fuzzing
	@CHAINRULE_SESSIONS=200 CHAINRULE_FUZZ=100 $(BIN)/python -m pytest -q tests/explorer/test_web.py

.PHONY: sanitize
sanitize: $(READY)-test ## run the core's tests under sanitizers (memory, undefined behaviour, threads)
	@$(BIN)/python -m pip install --disable-pip-version-check -qq nanobind
	@PYTHON=$(BIN)/python native/sanitize.sh

.PHONY: installs
installs: $(READY)-test ## install without a compiler, and without the core, and test what comes of it
	@PYTHON=$(BIN)/python native/installs.sh

.PHONY: torture
torture: $(READY)-test ## kill runs with checkpoints, and saves, two hundred times, and look at what is left
	@$(BIN)/python tests/training/torture.py --kills 200

.PHONY: fuzz
fuzz: $(READY)-fuzz ## read hostile model files for a minute, guided by coverage
	@$(BIN)/python tests/storage/fuzz.py --seconds 60

.PHONY: docs
docs: $(READY)-docs ## build the pages into docs/_build/html; a warning is an error
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: venv
venv: $(READY)-dev ## set up .venv with everything that developers need

.PHONY: clean
clean: ## remove .venv and everything that was built or cached
	rm -rf $(VENV) build dist demo-output docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The environment. The package is installed editable, so that a change of Python counts without a new
# install; a change of the core is compiled.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

CORE := CMakeLists.txt $(wildcard native/*.h native/*.cpp)

$(READY)-%: pyproject.toml $(CORE) | $(BIN)/python
	@echo "Installing chainrule with what '$*' needs ..."
	@$(PIP) --editable '.[$*]'
	@touch $@
