# The commands of the house. Each sets up what it needs in .venv, and does again only what changed.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMPS := .stamps
# a stamp is keyed on what decides the outcome, so that switching back and forth stays right
VENV_KEY := $(shell cat requirements.lock pyproject.toml setup.py | cksum | cut -d' ' -f1)
VENV_STAMP := $(STAMPS)/venv-$(VENV_KEY)
# an interpreted environment inherited from the shell would silently test the wrong thing
unexport MEMTWIN_INTERPRETED PYTHONPATH PYTHONHOME

.PHONY: help venv build demo test churn bench lint fidelity heap-truth differs lock clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      replay, size and record a program; leaves report.html"
	@echo "make test      all tests        make lint      ruff, mypy --strict"
	@echo "make bench     speed, against this machine's kernel"
	@echo "make heap-truth  malloc, event by event, against this machine's"
	@echo "make fidelity  score against what real kernels did"
	@echo "make venv | build | differs | lock | clean     see docs/HACKING.md"

$(VENV_STAMP):
	@tools/preflight.sh $(PYTHON) build
	@echo "setting up $(VENV)"
	@rm -rf $(STAMPS)/venv-*
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mkdir -p $(STAMPS) && touch $@

venv: $(VENV_STAMP)

build: venv
	@tools/preflight.sh $(PYTHON) build
	@$(PY) tools/build_ext.py

demo: build
	@$(VENV)/bin/memtwin demo

test: build
	@tools/preflight.sh $(PYTHON) build test
	@MEMTWIN_EXPECT=compiled $(PY) -m pytest $(TESTS)

# ten minutes of processes born and killed while we look; `make test` does two seconds of it
churn: build
	@MEMTWIN_CHURN_S=600 $(PY) -m pytest tests/observe/processes/test_scan.py -k born_and_killed

bench: build
	@$(PY) benchmarks/run.py
	@$(PY) benchmarks/heap.py

lint: venv
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

# ORACLE names the directory of recorded cases; it is kept outside the project
ORACLE ?= ../shared/oracle
fidelity: build differs
	@$(PY) tools/fidelity.py --oracle $(ORACLE)

# the twin's malloc against the C library of this machine; a part of it is in `make test`.
# GLIBCS names a directory of others, one below it for each (docs/HACKING.md)
GLIBCS ?=
heap-truth: build
	@$(PY) tools/heap_truth.py $(patsubst %,--glibc %,$(wildcard $(GLIBCS:%=%/*)))

# collects the `# DIFFERS:` lines into docs/FIDELITY.md
differs: venv
	@$(PY) tools/differs.py

# needs the package registry; the lock names no registry, so any index with the same files serves
lock: venv
	@$(PYTHON) -m venv build/lock-venv
	@build/lock-venv/bin/pip install -q pip-tools
	@(echo "# Made by \`make lock\` from pyproject.toml. Installed with pip install --require-hashes." ; \
	  build/lock-venv/bin/pip-compile -q --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --extra dev \
	  --output-file - pyproject.toml) > build/requirements.lock
	@mv build/requirements.lock requirements.lock

clean:
	@rm -rf build $(STAMPS) report.html .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests tools -name __pycache__ -prune -exec rm -rf {} +
	@find src -name '*.so' -delete -o -name '*.so.*.part' -delete
