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
PIP = .venv/bin/uv pip install --quiet --python .venv/bin/python $(PINS)
# Named after the interpreter and what is installed, so that it is made again when one of them changes.
STAMP := .venv/installed-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$(shell \
  cat settings.ini setup.py pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)$(if $(UPGRADE),-newest)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Notebooks run in folders of their own.
ABSOLUTE = $(shell python3 -c 'import os, sys; print(os.path.abspath(os.path.expanduser(sys.argv[1])))' '$1')
$(foreach name,DIGITLAB_MNIST DIGITLAB_CACHE,$(if $($(name)),$(eval export $(name) := $(call ABSOLUTE,$($(name))))))
# Their checks are asserts, and not every kernel should compile its modules again.
unexport PYTHONOPTIMIZE PYTHONDONTWRITEBYTECODE
# Two notebooks at once share the cores, and threads that wait by spinning would take the time from those that work.
THREADS := $(shell python3 -c 'import os; print(max(1, os.cpu_count()//2))')

.PHONY: help install run full test lab pad refresh model prepare check hooks student docs browser bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo '  PYTHON=python3.12 chooses the interpreter, ARGS="..." goes to the command, UPGRADE=1 installs the newest of everything.'

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("digitlab needs Python 3.10 or newer, this is %s; choose another: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@[ '$(PYTHON)' = .venv/bin/python ] || $(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	@$(PIP) --editable '.[dev]'
	@ln -sf nbdev-test .venv/bin/nbdev_test
	@rm -f .venv/installed-* && touch $@
install: $(STAMP) ## make .venv with the pinned set
run: $(STAMP) ## run every notebook with papermill, two at a time, and write a report (runs/latest/report.html)
	@digitlab run --jobs 2 $(ARGS)
full: $(STAMP) ## the same at the published sizes; lesson 7 runs last, on all cores
	@digitlab run --full --jobs 2 --alone 07 $(ARGS)
test: $(STAMP) ## test every notebook, and what a notebook can't hold
	@OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=$(THREADS) \
	  nbdev_test --n-workers 2 --timing --skip-file-re '^[_.]|-Copy[0-9]*\.ipynb$$'
	@OMP_WAIT_POLICY=PASSIVE pytest $(ARGS)
lab: $(STAMP) ## open lesson 1 in JupyterLab
	@cd nbs && jupyter lab $(or $(ARGS),01_tensors.ipynb)
pad: docs ## draw a digit: build the site and serve it at localhost:8000
	@python -m http.server --bind 127.0.0.1 --directory dev/site/_site 8000
refresh: $(STAMP) ## run the notebooks at the published sizes on MNIST and keep their outputs in nbs/
	@python dev/refresh.py $(ARGS)
	@jupyter nbconvert --log-level ERROR --execute --inplace nbs/index.ipynb
model: $(STAMP) ## train the small network that comes with the package, on MNIST (ARGS=--force replaces it)
	@python dev/model.py $(ARGS)
prepare: $(STAMP) ## write the modules and the README from the notebooks, and clean the notebooks
	@python dev/readme.py --check && nbdev-export && nbdev-clean && python dev/readme.py
check: prepare ## fail if `make prepare` changes anything that is committed
	@git status --porcelain -- digitlab nbs README.md | awk '{ print "not what the notebooks give:", $$0; bad = 1 } END { exit bad }'
hooks: $(STAMP) ## in git: notebooks compared and merged by cells, and checked before each commit
	@git config merge.jupyternotebook.driver '.venv/bin/nbdev-merge %O %A %B %P'
	@git config diff.jupyternotebook.command .venv/bin/nbdev-diff-driver
	@cp .ci/pre-commit "$$(git rev-parse --git-path hooks)/pre-commit"
student: $(STAMP) ## make the student's copy, with cells to fill in (folder student, or ARGS=FOLDER)
	@python dev/student.py $(ARGS)
docs: $(STAMP) ## build the site (dev/site/_site/index.html) and test it; needs Python 3.11 or newer
	@$(PIP) --editable '.[dev,docs]' && python dev/site/build.py && pytest tests/test_site.py
browser: docs ## drive JupyterLab and the site with Chromium (set CHROMIUM, or `playwright install chromium`)
	@$(PIP) --editable '.[dev,docs,browser]' && DIGITLAB_SHOTS=runs/shots pytest tests/test_browser.py $(ARGS)
bench: $(STAMP) ## measure speed, as ratios in one run
	@OMP_WAIT_POLICY=ACTIVE python dev/bench.py $(ARGS)
clean: ## remove .venv and what the targets made
	rm -rf .venv runs student dev/site/_site build dist *.egg-info
