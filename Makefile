# Each target sets up what it needs in .venv, once. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The interpreter to build .venv with. Left out, an existing .venv is used as it is.
ifeq ($(origin PYTHON),undefined)
  PYTHON := $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
endif
# What to install: the pinned set, or with UPGRADE=1 the newest of everything.
PINS := $(if $(UPGRADE),--upgrade,--constraint constraints.txt)
UV := uv==0.13.8

# Named after the interpreter and what is to be installed, so that it is made anew when one of them changes.
STAMP := .venv/installed-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$(shell \
  cat settings.ini setup.py pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)$(if $(UPGRADE),-newest)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Two notebooks at once share the cores, and threads that wait by spinning would take the time from those that work.
THREADS := $(shell python3 -c 'import os; print(max(1, os.cpu_count()//2))')

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("digitlab needs Python 3.10 or newer, this is %s; choose another: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@[ '$(PYTHON)' = .venv/bin/python ] || $(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode $(PINS) --editable '.[dev]'
	@rm -f .venv/installed-* && touch $@

.PHONY: help install run full test lab refresh model prepare check hooks docs student browser faults mutants bench audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo '  PYTHON=python3.12 chooses the interpreter, ARGS="..." goes to the command, UPGRADE=1 installs the newest of everything.'

install: $(STAMP) ## make .venv with the pinned set

run: $(STAMP) ## run the whole series with papermill, two notebooks at a time, and write a report (runs/latest/report.html)
	@digitlab run --jobs 2 $(ARGS)

full: $(STAMP) ## the same at the published sizes
	@digitlab run --full $(ARGS)

test: $(STAMP) ## test every notebook, and what a notebook can't hold
	@TQDM_DISABLE=1 OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=$(THREADS) nbdev_test --n-workers 2 --timing
	@pytest $(ARGS)

lab: $(STAMP) ## open the notebooks in JupyterLab
	@cd nbs && jupyter lab $(ARGS)

refresh: $(STAMP) ## run the notebooks at full sizes on MNIST and keep their outputs in nbs/
	@digitlab refresh $(ARGS)
	@jupyter nbconvert --log-level WARN --execute --inplace nbs/index.ipynb

model: $(STAMP) ## train the small network that comes with the package, on MNIST
	@python -c 'from digitlab.predict import make_model; make_model()'

prepare: $(STAMP) ## write the modules and the README anew from the notebooks, and clean the notebooks
	@nbdev-export
	@nbdev-clean
	@python .ci/readme.py
	@python .ci/questions.py

check: prepare ## fail if `make prepare` changes anything that is committed
	@git status --porcelain -- digitlab nbs README.md docs/questions.md | awk '{ print "not what the notebooks give:", $$0; bad = 1 } END { exit bad }'

hooks: $(STAMP) ## in git: notebooks merged and compared by cells, and checked before each commit
	@nbdev-install-hooks
	@git config --local merge.jupyternotebook.driver '.venv/bin/nbdev-merge %O %A %B %P'
	@git config --local diff.jupyternotebook.command .venv/bin/nbdev-diff-driver
	@cp .ci/pre-commit "$$(git rev-parse --git-path hooks)/pre-commit"

student: $(STAMP) ## make the student's copy, with cells to fill in (folder student; ARGS="FOLDER --force")
	@python .ci/student.py $(ARGS)

docs: $(STAMP) ## build the site (docs/_site/index.html) and test it
	@python -c 'import sys; sys.version_info >= (3, 11) or sys.exit("the site needs Python 3.11 or newer: make PYTHON=python3.12 docs")'
	@python -c 'import myst_nb, sphinx_book_theme, latex2mathml' 2>/dev/null || .venv/bin/uv pip install --quiet --python .venv/bin/python $(PINS) --editable '.[dev,docs]'
	@python docs/build.py
	@pytest docs/test_site.py

browser: $(STAMP) ## run every notebook in JupyterLab, driven by a headless Chromium (set CHROMIUM, or `playwright install chromium`)
	@python -c 'import playwright' 2>/dev/null || .venv/bin/uv pip install --quiet --python .venv/bin/python $(PINS) --editable '.[dev,browser]'
	@pytest tests/browser/in_jupyterlab.py $(ARGS)

faults: $(STAMP) ## kill, fill, flip and fuzz: the tests that take minutes
	@pytest tests/faults tests/test_fuzz.py -m 'slow or not slow' $(ARGS)
	@python tests/fuzz.py --inputs 100000

mutants: $(STAMP) ## break each function on purpose, and see that a test notices
	@python tests/mutants $(ARGS)

bench: $(STAMP) ## measure speed, as ratios in one run
	@OMP_WAIT_POLICY=ACTIVE python -m benchmarks $(ARGS)

audit: $(STAMP) ## look the pinned packages up among the known vulnerabilities (asks the package index)
	@.venv/bin/uv tool run pip-audit==2.10.1 --strict --no-deps --disable-pip --requirement constraints.txt

clean: ## remove .venv and what the targets made
	rm -rf .venv runs student docs/_site build dist *.egg-info
