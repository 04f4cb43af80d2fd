# Two commands do everything on a fresh machine: `make demo` and `make test`. Both call `setup` first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
UV := scripts/uv
RUN := $(UV) run --frozen --no-sync

.PHONY: help setup demo test test-one test-pythons coverage check package test-python test-agent test-isolation test-faults fuzz soak clean-system test-conformance test-hosts test-integrations test-clients smoke-use-cases lint format bench bench-compare bench-loop lab lab-all docs reference clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: ## Install what is missing: system packages (only with the privileges at hand), Python packages, the guest agent.
	@scripts/setup.sh

demo: setup ## The main job on real input: a real project is seeded, broken, fixed, diffed, exported, reset.
	@$(RUN) pyro demo

test: setup lint test-agent test-python ## Everything, on the real engine, as root and as an unprivileged user.

test-python: setup
	@$(RUN) python -m tests.run

test-agent: setup
	@cd agent && $(CURDIR)/scripts/go vet ./... && $(CURDIR)/scripts/go test ./...

test-one: setup ## One test, file or folder: make test-one T=tests/unit/test_pattern.py; K= chooses by name.
	@test -n "$(T)" || { echo "say which: make test-one T=tests/unit/test_pattern.py K=word" >&2; exit 2; }
	@$(RUN) python -m pytest $(T) $(if $(K),-k '$(K)')

coverage: setup ## What of the code the tests run, with branches, the daemon and the command line too: T=tests/unit, by default all.
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(RUN) coverage run -m pytest $(or $(T),tests) || touch build/coverage/red
	@$(RUN) coverage combine --quiet
	@$(RUN) coverage html --quiet --directory build/coverage/html
	@$(RUN) coverage report
	@echo "build/coverage/html/index.html"; test ! -e build/coverage/red

check: setup ## lint and the unit tests, side by side: what to run before each commit.
	@$(ABREAST) unit $(LINTS)

.PHONY: unit
unit: setup
	@HYPOTHESIS_PROFILE=quick $(RUN) python -m pytest tests/unit -x

test-pythons: setup ## tests/unit with the wheel on Python 3.11 to 3.14, as far as they can be had here; what is missing is named.
	@$(RUN) python -m tests.pythons

test-isolation: setup ## Attempts to get out of a machine, on each engine that works here; prints the table.
	@$(RUN) python -m pytest -q --isolation=whole tests/isolation tests/engine/test_boundary.py

test-faults: setup ## Random operations with kill -9 of whatever takes part, and many create/delete cycles; STEPS=700 CYCLES=1000 SEED=.
	@PYRO_FAULT_STEPS=$(or $(STEPS),700) PYRO_FAULT_CYCLES=$(or $(CYCLES),1000) PYRO_FAULT_SEED=$(SEED) \
	  $(RUN) python -m pytest -s --timeout=7200 tests/faults tests/engine/test_this_machine_refuses.py -k "not short_soak"

fuzz: setup ## Every parser of bytes from the other side, the agent's by Go's fuzzer; SECONDS=600 in all, SEED=.
	@$(RUN) python -m tests.fuzz --go --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

soak: setup ## 50 workspaces, 200 commands at once, mixed work, for MINUTES=60; figures and what grew.
	@$(RUN) python -m tests.faults.soak --minutes $(or $(MINUTES),60)

clean-system: ## Undo what `make test` made as root outside of this directory: the user pyro-test, with its home and its subordinate ids.
	@$(RUN) python -m tests.run --clean-system

test-conformance: setup ## The official MCP conformance suite and the inspector (from npm) against the server over HTTP.
	@$(RUN) python -m tests.conformance

SMOKES := cold-start-validation repro-fix-loop parallel-workspaces untrusted-inspection review-eval candidate-fixes
.PHONY: $(SMOKES:%=smoke-%)

smoke-use-cases: $(SMOKES:%=smoke-%) ## The use cases through the MCP server, on the real engine; each also alone: make smoke-NAME.

$(SMOKES:%=smoke-%): smoke-%: setup
	@$(RUN) python -m examples.use_cases.$(subst -,_,$*)

test-hosts: setup ## The real Claude Code, Codex and OpenCode, outside and inside, against a scripted model on loopback.
	@$(RUN) python -m pytest -rs tests/hosts/real_hosts.py tests/hosts/real_agents.py

test-integrations: setup ## Inspect, deepagents, Harbor, OpenAI Agents with pyro as their sandbox, each from PyPI in an environment of its own; ONLY="inspect".
	@$(RUN) python -m tests.integrations $(ONLY)

test-clients: setup ## npm, Node, uv, go, Java, psql, ssh and more find the way out of a machine: minutes, from PyPI, npm and Debian.
	@$(RUN) python -m pytest -rs --timeout=3600 tests/engine/more_clients.py

LINTS := lint-ruff lint-mypy lint-pyright lint-layers lint-agent lint-reference package
ABREAST := $(MAKE) --no-print-directory --keep-going --output-sync=target --jobs=$(shell nproc)
.PHONY: $(LINTS)

lint: setup ## ruff, mypy --strict, pyright over what users write, layers, gofmt, the package's own checks.
	@$(ABREAST) $(LINTS)

lint-ruff: setup
	@$(RUN) ruff check --quiet . && $(RUN) ruff format --quiet --check .

lint-mypy: setup
	@$(RUN) mypy

lint-pyright: setup
	@$(RUN) basedpyright --level error examples tests/user_script.py

lint-layers: setup
	@$(RUN) lint-imports --no-logo

lint-agent: setup
	@test -z "$$(scripts/go fmt -l agent)" || { echo "gofmt: run 'scripts/go fmt -w agent'"; exit 1; }

lint-reference: setup
	@$(RUN) python -m pyro_mcp.reference --check

package: setup ## Build wheel and source archive into dist/, and check both as a package index does.
	@rm -rf dist && PATH="$(CURDIR)/.tools/bin:$$PATH" $(RUN) python -m hatchling build >/dev/null
	@$(RUN) twine --no-color check --strict dist/* >dist/checked.txt || { cat dist/checked.txt; exit 1; }
	@rm dist/checked.txt && $(RUN) check-wheel-contents dist/*.whl

format: setup ## Bring all code into the one format.
	@$(RUN) ruff check --fix . || true
	@$(RUN) ruff format .
	@scripts/go fmt -w agent

bench: setup ## The cost of each operation, as ratios against baselines of the same run, and what one could take instead; JSON=FILE keeps all times.
	@$(RUN) python -m benchmarks.run $(if $(JSON),--json '$(JSON)') $(if $(QUICK),--quick)

bench-compare: setup ## What is slower or faster than before, and what only looks so: BASE="before.json …" NOW="now.json …".
	@test -n "$(BASE)" -a -n "$(NOW)" || { echo "say which: make bench-compare BASE=before.json NOW=now.json (from make bench JSON=FILE)" >&2; exit 2; }
	@$(RUN) python -m benchmarks.compare --base $(BASE) --now $(NOW)

bench-loop: setup ## The coding loop with pyro and its peers, step by step: PROJECTS=python,node ROUNDS=5.
	@$(RUN) python -m benchmarks.coding_loop --projects $(or $(PROJECTS),python) --rounds $(or $(ROUNDS),5)

docs: setup ## The guides and the SDK reference as pages that need no network, in build/site; a broken link fails.
	@$(UV) sync --frozen --no-install-project --inexact --quiet --group docs
	@$(RUN) python scripts/pages.py
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --quiet
	@echo "build/site/README.html"

reference: setup ## Write docs/public-contract.md and the type stubs from the operations.
	@$(RUN) python -m pyro_mcp.reference

lab: setup ## Real Firecracker in an emulated computer: the engine's own test and the core of the engine suite.
	@scripts/lab-tools.sh
	@$(RUN) python -m lab.run

lab-all: setup ## All of the engine suite and the use cases in there, file by file.
	@scripts/lab-tools.sh
	@$(RUN) python -m lab.all

clean: ## Remove what setup made in this directory (not the caches of pyro itself).
	@rm -rf .venv .tools dist build src/pyro_mcp/_bin
