# make demo, make test: each sets everything up by itself on a fresh machine, in a virtual environment.
#
#   PYTHON=python3.12   the interpreter that the environment is made with, into which nothing is installed;
#                       by default the newest on the PATH that will do (launch/find_python.sh)
#   VENV=.venv          where the environment is, or is made
VENV ?= .venv
PYTHON ?=
ITS_PYTHON := $(VENV)/bin/python
PIP := $(ITS_PYTHON) -m pip --disable-pip-version-check install -qq
DEMO ?= runs/demo
WORKERS ?= 2

.PHONY: venv demo test test-all lint docs requirements results clean

venv:
	@launch/make_venv.sh "$(VENV)" "$(PYTHON)"

# Stamps: what is installed is installed again only when pyproject.toml changes.
$(VENV)/core: pyproject.toml | venv
	$(PIP) --editable .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) --editable '.[tf,dev]'
	touch $@

demo: $(VENV)/core  ## both stages of GCL on long-tailed digits, and the table
	$(ITS_PYTHON) -m gcl_jax.main --config=configs/digits_lt.py:gcl --workdir=$(DEMO)

test: $(VENV)/dev  ## all tests but those that take minutes on two cores
	$(ITS_PYTHON) -m pytest -n $(WORKERS) --dist loadfile -m 'not slow'

test-all: $(VENV)/dev  ## all of them
	$(ITS_PYTHON) -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/dev
	$(ITS_PYTHON) -m ruff check .
	$(ITS_PYTHON) -m ruff format --check .
	$(ITS_PYTHON) -m mypy
	$(ITS_PYTHON) -m codespell_lib

$(VENV)/docs: $(VENV)/core
	$(PIP) --editable '.[docs]'
	touch $@

docs: $(VENV)/docs  ## README, docs/ and results as pages: build/docs/docs/index.html; a warning is an error
	$(ITS_PYTHON) -m sphinx -W --keep-going -q -c docs -b html . build/docs

requirements: $(VENV)/core  ## requirements.txt from pyproject.toml
	$(ITS_PYTHON) tools/requirements.py

results: $(VENV)/core  ## the tables of README and docs/ from results/
	$(ITS_PYTHON) tools/result_pages.py

clean:
	rm -rf $(VENV) runs build *.egg-info
