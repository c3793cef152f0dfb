# From a fresh clone with Python 3.11, one command each: make demo, make test.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_LINKS ?= https://download.pytorch.org/whl/cpu/torch/
BIN := .venv/bin

.PHONY: demo test lint format docs lock models wheel clean

demo: .venv/program
	$(BIN)/iwae demo

test: lint
	browser=$$(tools/chromium.sh $(BIN)/python) && CHROMIUM="$$browser" $(BIN)/pytest -n 2 --dist loadfile

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# site/ then holds the documentation. A warning is an error, but not with --quiet, which hides it from --strict.
docs: .venv/dev
	$(BIN)/python -m mkdocs build --strict

# TORCH_LINKS may also be a local folder holding the same CPU wheels.
lock: .venv/runtime
	$(BIN)/pip install --quiet uv==0.13.9
	sed 's/^torch==.*/&+cpu/' requirements.txt | $(BIN)/uv pip compile - --output-file requirements.lock \
	    --generate-hashes --python-version 3.11 --upgrade --quiet --no-annotate \
	    --find-links "$(TORCH_LINKS)" --no-emit-find-links --custom-compile-command "make lock"

# Trains the models that ship with the program: an hour. The ELBO's model comes first.
models: .venv/program
	$(BIN)/iwae train --estimator vae --k 1 --steps 6000 --out runs/models/k1
	$(BIN)/iwae ship runs/models/k1 --name vae_k1
	for k in 5 50; do \
	    $(BIN)/iwae train --estimator vae,iwae --k $$k --steps 6000 --out runs/models/k$$k; \
	    $(BIN)/iwae ship runs/models/k$$k --name vae_k$$k,iwae_k$$k; \
	done
	$(BIN)/iwae train --estimator vae,iwae --k 10 --steps 12000 --model one_layer_2d --out runs/models/2d
	$(BIN)/iwae ship runs/models/2d --name vae_2d,iwae_2d
	$(BIN)/python -m iwae_lab.lessons.measured
	$(BIN)/python -m tools.tables

# dist/ then holds what `pip install` needs on another machine.
wheel: .venv/runtime
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/dev: requirements-dev.txt .venv/runtime | .venv/program
	tools/install.sh $(BIN)/python requirements-dev.txt
	touch $@

# Editable: the command runs what is in this folder.
.venv/program: pyproject.toml tools/build.py .venv/runtime
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

.venv/runtime: requirements.txt tools/install.sh
	$(PYTHON) -m venv .venv
	tools/install.sh $(BIN)/python requirements.txt
	touch $@
