# connbench. `make help` says what there is; every target sets up what it needs first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin

# A switch is on unless it is empty, 0 or no.
on = $(filter-out 0 no,$(1))
bench_flags = $(if $(call on,$(QUICK)),--quick) $(if $(MATRIX),-m '$(MATRIX)') $(if $(BLOCKS),--blocks '$(BLOCKS)') \
              $(if $(ONLY),--only '$(ONLY)') $(if $(PROVIDER),--provider '$(PROVIDER)') $(ARGS)

# --- For users

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^# --- / { printf "\n%s\n", substr($$0, 7) } \
	  /^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 } \
	  /^## / { print "  " substr($$0, 4) }' $(firstword $(MAKEFILE_LIST))

.PHONY: bench
bench: setup ## measure the matrix, print the comparison, write the HTML report
	@$(BIN)/connbench run $(bench_flags)

.PHONY: advise
advise: setup ## search the matrix for the settings to use, about 15 minutes (docs/advise.md)
	@$(BIN)/connbench advise $(if $(MATRIX),-m '$(MATRIX)') $(ARGS)

.PHONY: claims
claims: setup ## try the documented claims, about 20 minutes; ONLY=3 tries one
	@$(BIN)/connbench claims --wait $(if $(ONLY),--only '$(ONLY)') $(ARGS)

.PHONY: report
report: setup ## make the report of a run again
	@$(BIN)/connbench report '$(or $(RUN),results/latest)'

.PHONY: doctor
doctor: ## say what this machine has and lacks; installs nothing
	@if [ -x $(BIN)/connbench ]; then $(BIN)/connbench doctor; else scripts/system-packages --check; fi

.PHONY: setup
setup: ## install what bench needs: system packages, uv, .venv
	@scripts/setup

.PHONY: scheduler
scheduler: ## install what a run over several machines needs too (docs/scaling.md)
	@scripts/setup --scheduler

.PHONY: clean
clean: ## delete the environments and caches; the results stay
	rm -rf .venv .connbench .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- For developers

.PHONY: setup-dev
setup-dev: ## install what test and lint need on top of that
	@scripts/setup --dev

# Two workers, since most tests wait more than they work; tests/conftest.py has the order, and who runs alone.
two_at_once := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: setup-dev ## run every test, those that start real servers included
	@$(BIN)/pytest $(two_at_once) $(ARGS)

.PHONY: test-fast
test-fast: setup-dev ## run the tests that start no server
	@$(BIN)/pytest $(two_at_once) -m 'not server' $(ARGS)

.PHONY: test-docker
test-docker: setup-dev ## run the tests of whole runs in Docker, which build every image first
	@CONNBENCH_DOCKER_TESTS=1 $(BIN)/pytest tests/test_docker*.py tests/test_apart.py tests/test_compose.py tests/provision/test_docker.py $(ARGS)

.PHONY: lint
lint: setup-dev ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@! command -v shellcheck >/dev/null || shellcheck -x scripts/{lib.sh,lock,package-index,setup,system-packages,uv} .ci/run tests/docker/engine

.PHONY: format
format: setup-dev ## format the code and mend what can be mended by itself
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: benchmarks
benchmarks: setup-dev ## measure connbench itself: its overhead, its sampler, its recorder
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: kills
kills: setup-dev ## kill the runner at KILLS random moments and see that nothing is lost or left
	@KILLS='$(or $(KILLS),50)' $(BIN)/pytest tests/test_kills.py $(ARGS)

.PHONY: counts
counts: setup-dev ## put every fault in, count what became of it, make docs/reliability.md of the counts
	@rm -f benchmarks/faults.jsonl
	@FAULTS='$(CURDIR)/benchmarks/faults.jsonl' $(BIN)/pytest tests/test_kills.py tests/test_breakage.py $(ARGS)
	@$(BIN)/python -m benchmarks.reliability

.PHONY: soak
soak: setup-dev ## one run of 500 attempts and of HOURS: the runner's memory and descriptors stay as they are
	@$(BIN)/python -m benchmarks soak $(if $(HOURS),--hours '$(HOURS)') $(ARGS)

.PHONY: audit
audit: setup-dev ## look for known weaknesses in every locked package
	@for lock in requirements/*.txt; do \
	  echo "$$lock"; $(BIN)/pip-audit --progress-spinner off --disable-pip --require-hashes -r "$$lock" || failed=1; \
	done; exit $${failed:-0}

.PHONY: secrets
secrets: setup-dev ## look for secrets in what is committed; known harmless finds are in .secrets.baseline
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline

.PHONY: picture
picture: setup-dev ## take the README's picture of a run's report (needs Chromium)
	@scripts/system-packages --browser
	@$(BIN)/python scripts/picture.py '$(or $(RUN),results/latest)' docs/report.png

.PHONY: lock
lock: ## compile requirements/ from pyproject.toml
	@scripts/lock $(if $(call on,$(UPGRADE)),--upgrade)

.PHONY: lock-check
lock-check: ## say whether requirements/ is what pyproject.toml asks for
	@scripts/lock --check

# --- Settings
## QUICK=1           bench: every cell, but one block and short windows
## MATRIX=FILE       bench, advise: another matrix than matrix.yaml
## BLOCKS=N          bench: how often each cell is measured
## ONLY=GLOB         bench: only the cells whose id matches; claims: the claim's number
## PROVIDER=NAME     bench, setup: where it runs (auto, native, docker)
## RUN=FOLDER        report, picture: which run (results/latest)
## KILLS=N           kills: how often (50)
## HOURS=N           soak: how long at least, beside its 500 attempts
## UPGRADE=1         lock: take the newest versions
## ARGS="…"          bench, advise, test, test-fast, benchmarks: anything else, handed on as it is
## SETUP=no          all: look for nothing and install nothing
## PYTHON=NAME       all: the interpreter for .venv, by name or path
