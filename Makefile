# make test    all tests                      make demo        the whole stack, rotated before your eyes (KEEP=1 keeps it)
# make check   style and types                make screenshot  docs/images/rotate-secret.png, from a stack that runs
# make lock    the locks, from pyproject.toml make clean       remove what was made here
# make crash-matrix  every strategy, stopped at every point (ARGS="--only redis" for one of them)
#
# Nothing here needs root. KEYTURN_PYTHON chooses a Python; ARGS goes to pytest: make test ARGS="-k crash -x"
# Tests wait a lot, so two processes run them side by side, each with servers of its own (ARGS="-n 0": one alone).

VENV := .venv
PY := $(VENV)/bin/python
UV_COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header

.PHONY: setup demo test check crash-matrix lock screenshot clean

setup:
	@deployments/setup.sh $(VENV)

demo: setup
	@$(PY) -m deployments.local.demo

test: setup
	$(VENV)/bin/pytest --numprocesses=2 --dist=loadgroup $(ARGS)

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

crash-matrix: setup
	@$(PY) -m tests.crash $(ARGS)

# Keeps the versions that are locked; for newer ones: make lock UPGRADE=--upgrade
lock: setup
	sed -n 's/ *\\$$//; /^uv==/p' requirements-setup.txt | $(UV_COMPILE) $(UPGRADE) -o requirements-setup.txt -
	$(UV_COMPILE) $(UPGRADE) --extra dev --extra all --no-emit-package keyturn -o requirements.lock pyproject.toml

screenshot: setup
	$(PY) -m deployments.screenshot

clean:
	@if [ -f .keyturn/stack.json ] && [ -x $(PY) ]; then \
		$(PY) -c 'from pathlib import Path; from deployments.local.stack import remove; remove(Path(".keyturn"), print)'; fi
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
