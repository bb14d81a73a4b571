# Two commands on a fresh machine: `make demo` runs the whole link, `make test` passes the tests;
# `make test-slow` runs those that take long, `make docs` builds the documents as a site. All set up
# .venv first; a second call is quick.
# ROS_DISTRO_WHEELS=jazzy takes Jazzy's wheels.

PYTHON ?= python3
VENV ?= .venv
ROS_DISTRO_WHEELS ?= kilted
DEMO_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WHEELS := requirements/ros-$(ROS_DISTRO_WHEELS).txt
SOURCES := setup.py setup.cfg package.xml $(wildcard msg/*) $(wildcard launch/*) \
	$(shell find gsc_ros config -type f -not -name '*.pyc')

export AMENT_PREFIX_PATH := $(abspath $(VENV))
unexport PYTHONPATH

.PHONY: setup demo test test-slow coverage docs lint types pytest clean

setup: $(VENV)/.installed

$(VENV)/.system:
	PYTHON=$(PYTHON) tools/system_packages.sh
	$(PYTHON) -m venv $(VENV)
	touch $@

# The ROS wheels come first: building our messages needs them.
$(VENV)/.wheels: $(VENV)/.system $(WHEELS) requirements/constraints.txt
	$(PIP) install --upgrade pip
	$(PIP) install -c requirements/constraints.txt -r $(WHEELS)
	$(PIP) install -c requirements/constraints.txt torch
	touch $@

# Building with the activated environment, as cmake is one of its programs.
$(VENV)/.installed: $(VENV)/.wheels $(SOURCES)
	rm -rf build
	PATH="$(abspath $(BIN)):$$PATH" $(PIP) install --no-build-isolation \
		-c requirements/constraints.txt '.[console,demo,docs,evaluation,foundation,judge,test]'
# CompressAI asks for numpy < 2, which its entropy models do not need, and has no wheel for 3.13.
	if $(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then \
		$(PIP) install --no-deps --only-binary :all: 'compressai>=1.2.6,<2' || \
		echo 'no CompressAI: training entropy tables will be refused'; fi
	touch $@

demo: setup
	$(BIN)/gsc demo $(DEMO_ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: setup
	$(BIN)/mypy

# Two processes, a file in one of them: tests of nodes mostly wait.
pytest: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: lint types pytest

test-slow: setup
	$(BIN)/python -m pytest -m slow --durations=10

# Apart from the tests, as Python code takes up to four times as long under it.
coverage: setup
	$(BIN)/python -m pytest -m '' --cov=gsc_ros --cov-report=term

# The site in site/ opens from disk. The variable turns an advertisement of the theme off.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build demo site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage
