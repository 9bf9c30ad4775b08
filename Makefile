# Two commands do all the set-up: `make train` and `make test`. Nothing is written outside this folder but pip's cache.
PYTHON ?= python3
VENV ?= .venv
GON = $(VENV)/bin/gon
PYTEST = $(VENV)/bin/python -m pytest

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2]) if sys.version_info >= (3, 11) else None')
ifeq ($(filter 3.%,$(VERSION)),)
$(error expected Python 3.11 or newer, got "$(PYTHON)": install one, or name it with `make PYTHON=python3.13 ...`)
endif

# Caches of libraries, inside; pip's own calls keep theirs.
RUN = MPLCONFIGDIR=$(CURDIR)/.cache/matplotlib XDG_CACHE_HOME=$(CURDIR)/.cache
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: train test check lint docs docs-links test-floor matrix dist audit bench notebooks clean

train: $(VENV)/.package ## train on scikit-learn's digits: about two minutes, pictures in runs/gon-digits
	@if [ -f runs/gon-digits/summary.json ]; then $(RUN) $(GON) show runs/gon-digits; \
	elif [ -d runs/gon-digits/checkpoints ]; then $(RUN) $(GON) train gon-digits --run runs/gon-digits --resume; \
	else $(RUN) $(GON) train gon-digits --run runs/gon-digits; fi

test: $(VENV)/.test ## the suite, but for its slow tests
	$(RUN) $(PYTEST) -n 2 --dist loadgroup --durations=25 $(TESTS)

check: lint test docs dist ## the suite and what is slower: real data where GON_DATA_DIR has it, notebooks, minutes of training
	$(RUN) $(PYTEST) -m slow -n 2 --dist loadgroup --durations=25

lint: $(VENV)/.test
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy --cache-dir .cache/mypy
	$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python --project pyproject.toml

SPHINX = $(RUN) JAX_PLATFORMS=cpu $(VENV)/bin/python -m sphinx -W --keep-going --quiet -c docs -d build/doctrees

docs: $(VENV)/.docs ## the documentation as build/docs/index.html, which needs no network; warnings are errors
	$(SPHINX) -b html . build/docs

docs-links: $(VENV)/.docs ## follow the links of the documentation that lead elsewhere; asks the network
	$(SPHINX) -b linkcheck . build/links

test-floor: ## the suite, or the files in TESTS, on the lowest versions we support, in a venv of its own
	$(MAKE) test VENV=.venv-floor CONSTRAINTS=requirements-floor.txt

# With pyenv, all its Pythons can be found by their names. `python -m release.matrix` makes the record and the table of the results.
matrix: $(VENV)/.release ## the core of the tests on each Python that is here, with the lowest and the newest JAX; minutes each
	PYENV_VERSION=$$(pyenv versions --bare 2>/dev/null | paste -sd: -) $(VENV)/bin/python -m nox $(MATRIX)

dist: $(VENV)/.release ## the distributions, checked, and the wheel used from an environment that holds nothing else: about two minutes
	rm -rf dist build/lib build/bdist.* .venv-dist
	$(VENV)/bin/python -m build --outdir dist .
	$(VENV)/bin/python -m twine check --strict dist/*
	$(VENV)/bin/python release/check_dist.py dist
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	.venv-dist/bin/python -m pip check
	.venv-dist/bin/python -I release/smoke.py
	rm -rf .venv-dist build/lib build/bdist.*

LICENSES = MIT;BSD;ISC;Apache;PSF;Python Software Foundation;MPL;Mozilla Public;HPND;CMU;Unlicense;Zlib;CNRI
audit: ## licenses, and known vulnerabilities, of what the package installs, in a venv of its own; asks the network
	@$(MAKE) --no-print-directory .venv-audit/.package VENV=.venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit pip-licenses
	.venv-audit/bin/pip-licenses --from=mixed --partial-match --allow-only="$(LICENSES)" --ignore-packages gon-jax > .venv-audit/licenses.txt
	.venv-audit/bin/pip-audit --strict --local --skip-editable

bench: $(VENV)/.benchmark ## step time beside PyTorch, under 10 minutes; the whole: python -m benchmarks.step_time --full
	$(RUN) $(VENV)/bin/python -m benchmarks.step_time

notebooks: $(VENV)/.test ## run the notebooks and write their outputs: on MNIST where it can be had, minutes
	$(RUN) $(VENV)/bin/python notebooks/build.py

$(VENV)/.python-$(VERSION):
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

CONSTRAIN = $(addprefix --constraint ,$(CONSTRAINTS))

$(VENV)/.package: $(VENV)/.python-$(VERSION) setup.cfg pyproject.toml
	$(PIP) $(CONSTRAIN) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.python-$(VERSION) setup.cfg pyproject.toml $(CONSTRAINTS)
	$(PIP) $(CONSTRAIN) --editable '.[test]'
	@touch $@

$(VENV)/.docs: $(VENV)/.python-$(VERSION) setup.cfg pyproject.toml
	$(PIP) $(CONSTRAIN) --editable '.[docs]'
	@touch $@

$(VENV)/.release: $(VENV)/.python-$(VERSION) setup.cfg pyproject.toml
	$(PIP) $(CONSTRAIN) --editable '.[release]'
	@touch $@

$(VENV)/.benchmark: $(VENV)/.python-$(VERSION) setup.cfg pyproject.toml
	$(PIP) $(CONSTRAIN) --editable '.[benchmark]'
	@touch $@

clean:
	rm -rf .venv .venv-floor .venv-audit .venv-dist .nox .cache build dist *.egg-info
