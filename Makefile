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
# Two notebooks on two cores: threads that wait by spinning take the time from those that work.
export OMP_WAIT_POLICY ?= PASSIVE

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("digitlab needs Python 3.10 or newer, this is %s; choose another: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@[ '$(PYTHON)' = .venv/bin/python ] || $(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode $(PINS) --editable '.[dev]'
	@rm -f .venv/installed-* && touch $@

.PHONY: help install run full test lab refresh prepare check bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo '  PYTHON=python3.12 chooses the interpreter, ARGS="..." goes to the command, UPGRADE=1 installs the newest of everything.'

install: $(STAMP) ## make .venv with the pinned set

run: $(STAMP) ## run the whole series with papermill and write a report (runs/latest/report.html)
	@digitlab run $(ARGS)

full: $(STAMP) ## the same at the published sizes
	@digitlab run --full $(ARGS)

test: $(STAMP) ## test every notebook, and what a notebook can't hold
	@TQDM_DISABLE=1 nbdev_test --n-workers 2 --timing
	@pytest $(ARGS)

lab: $(STAMP) ## open the notebooks in JupyterLab
	@cd nbs && jupyter lab $(ARGS)

refresh: $(STAMP) ## run the notebooks at full sizes on MNIST and keep their outputs in nbs/
	@digitlab refresh $(ARGS)
	@jupyter nbconvert --log-level WARN --execute --inplace nbs/index.ipynb

prepare: $(STAMP) ## write the modules and the README anew from the notebooks, and clean the notebooks
	@nbdev-export
	@nbdev-clean
	@python .ci/readme.py

check: prepare ## fail if `make prepare` changes anything that is committed
	@git status --porcelain -- digitlab nbs README.md | awk '{ print "not what the notebooks give:", $$0; bad = 1 } END { exit bad }'

bench: $(STAMP) ## measure speed, as ratios in one run
	@python benchmarks/data.py $(ARGS)
	@OMP_WAIT_POLICY=ACTIVE python -W ignore::FutureWarning benchmarks/training.py $(ARGS)

clean: ## remove .venv and what the targets made
	rm -rf .venv runs build dist *.egg-info
