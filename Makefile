# make demo, make test: each sets everything up by itself on a fresh machine.
VENV ?= .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check install -qq
DEMO ?= runs/demo
WORKERS ?= 2

.PHONY: demo test test-all lint clean

# Stamps: what is installed is installed again only when pyproject.toml changes.
$(VENV)/core: pyproject.toml
	test -x $(PYTHON) || "$$(launch/find_python.sh)" -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) --editable '.[tf,dev]'
	touch $@

demo: $(VENV)/core  ## both stages of GCL on long-tailed digits, and the table
	$(PYTHON) -m gcl_jax.main --config=configs/digits_lt/gcl.py --workdir=$(DEMO)

test: $(VENV)/dev  ## all tests but those that take minutes on two cores
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile -m 'not slow'

test-all: $(VENV)/dev  ## all of them
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile

lint: $(VENV)/dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

clean:
	rm -rf $(VENV) runs build *.egg-info
