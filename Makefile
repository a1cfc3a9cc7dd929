# make run    prepare this machine, measure with plan "quick", end with verdict and report
# make test   every test on every Python that is here, guests included
# make lint   ruff and mypy only          make venv   only the virtual environment          make clean   remove what was built
#
# PYTHON=/path/to/python3.X   the Python to use (default: the first working one of 3.11 or later)
# PLAN=return                 another plan for `make run`      RUN_ARGS="--blocks 2"   more options for it
# TOX_ARGS="-e py312,guest"   fewer environments for `make test`

VENV := .venv
PLAN ?= quick
RUN_ARGS ?=
TOX_ARGS ?=

# Found by running it: a pyenv shim is on PATH also when it cannot run.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 $$HOME/.pyenv/versions/3.1[1-9].*/bin/python3; do \
	"$$python" -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null | grep . && break; done)
# Last on PATH, so that tox finds Pythons that pyenv has not selected and everything else stays as it was.
PYENV_BINS := $(wildcard $(HOME)/.pyenv/versions/3.9.*/bin $(HOME)/.pyenv/versions/3.1[1-9].*/bin)
EMPTY :=
PYENV_PATH := $(subst $(EMPTY) $(EMPTY),,$(addprefix :,$(PYENV_BINS)))

BUILD_INPUTS := pyproject.toml setup.py $(wildcard workloads/*.py workloads/memtouch/*.[ch] workloads/memtouch/build.py)

.PHONY: run test lint venv clean
.DELETE_ON_ERROR:

run: venv
	@$(VENV)/bin/bench prepare local --yes
	@$(VENV)/bin/bench run $(PLAN) $(RUN_ARGS)

# Installed one by one (they build into the same folder), then run three at a time: guests wait for most of their time. uv
# makes the environments: pip took four minutes. It must not fetch Pythons: those that are not here are skipped. What boots
# guests is prepared before two environments ask for it at once.
test: $(VENV)/.tox-installed
	@$(VENV)/bin/python -m bench.host.packages tests
	@PATH="$$PATH$(PYENV_PATH)" UV_PYTHON_DOWNLOADS=never $(VENV)/bin/tox run -q --notest $(TOX_ARGS)
	@$(if $(TOX_ARGS),,$(VENV)/bin/tox run -q -e guest --skip-pkg-install -- --version)
	@PATH="$$PATH$(PYENV_PATH)" UV_PYTHON_DOWNLOADS=never $(VENV)/bin/python tests/leftovers.py \
		$(VENV)/bin/tox run-parallel --skip-pkg-install --parallel 3 --parallel-no-spinner $(TOX_ARGS)

lint: $(VENV)/.tox-installed
	@$(VENV)/bin/tox -q -e lint

venv: $(VENV)/.project-installed

$(VENV)/.project-installed: $(VENV)/.made $(BUILD_INPUTS)
	@echo "make: installing the project and what it needs into $(VENV)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-compile -e .
	@touch $@

$(VENV)/.tox-installed: $(VENV)/.made
	@echo "make: installing tox into $(VENV)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-compile 'tox>=4.11' 'tox-uv>=1.20'
	@touch $@

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or later was found; run: sudo apt-get install python3" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) does not run, or is older than 3.11" >&2; exit 2; }
	@"$(PYTHON)" -m bench.host.packages bootstrap
	@echo "make: making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) .tox build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f workloads/*.so workloads/*.o workloads/_libc.c workloads/memtouch/*.so workloads/memtouch/*.o workloads/memtouch/_memtouch.c
	find bench benchmarks reports tests workloads -name __pycache__ -type d -prune -exec rm -rf {} +
