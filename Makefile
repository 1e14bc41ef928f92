# Yumai. `make` alone lists what there is. Nothing but a Python of 3.11 or newer is needed on the machine.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/share/yumai
STATE ?= .yumai
PORT_BASE ?= 8700
UP ?=
TESTS ?= $(wildcard tests/unit tests/seams)
ASYNCAPI_PARSER := 3.6.6
ALL := contracts yumai services embedded simulation console deploy tests bench

# Each candidate is tried, not only looked for: a version manager's shim may be there without its version. One that can
# make virtual environments goes before one that can't.
PYTHON ?= $(shell for needs in 'ensurepip, venv' sys; do for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c "import $$needs, sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo $$python && exit; \
	done; done)

# What this machine trusts, also where a proxy signs with a certificate of its own. Elsewhere pip's own list is used.
CERTIFICATES := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt))
ifneq ($(CERTIFICATES),)
export PIP_CERT ?= $(CERTIFICATES)
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# A package's own settings must not leak in from an activated environment.
unexport PYTHONHOME
unexport VIRTUAL_ENV

##@ Use

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@printf '\n  variables: STATE=%s  PORT_BASE=%s  UP="more options of yumai up"\n' '$(STATE)' '$(PORT_BASE)'

install: $(STAMP)/ready ## everything into .venv: packages, Apache Kafka, Java where there is none

run: install ## install, then run everything with a simulated city; Ctrl-C stops it
	@exec $(BIN)/yumai up --state '$(STATE)' --port-base $(PORT_BASE) $(UP)

clean: ## forget the state (the books, the identities, the logs)
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m console.forget --state '$(STATE)'; else rm -rf -- '$(STATE)'; fi

##@ Develop

test: $(STAMP)/dev ## the tests, real Kafka and real engine included
	@$(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadfile $(TESTS)

check: $(STAMP)/dev ## format, lint, types, import direction
	@failed=0; \
	$(BIN)/python -m ruff format --check $(wildcard $(ALL)) || failed=1; \
	$(BIN)/python -m ruff check $(wildcard $(ALL)) || failed=1; \
	$(BIN)/lint-imports || failed=1; \
	$(BIN)/python -m mypy || failed=1; \
	exit $$failed

asyncapi: ## contracts/asyncapi.yaml by the official parser, where there is npm
	@command -v node >/dev/null && command -v npm >/dev/null || { echo 'asyncapi: skipped, no node and npm'; exit 0; }; \
	mkdir -p $(STAMP)/asyncapi; \
	[ -d $(STAMP)/asyncapi/node_modules/@asyncapi/parser ] || \
		$$(command -v timeout >/dev/null && echo timeout 150) npm install --silent --no-audit --no-fund \
		--prefix $(STAMP)/asyncapi @asyncapi/parser@$(ASYNCAPI_PARSER) || \
		{ echo 'asyncapi: skipped, npm does not install the parser'; exit 0; }; \
	node contracts/check-asyncapi.mjs $(STAMP)/asyncapi/node_modules contracts/asyncapi.yaml

k8s-check: $(STAMP)/dev ## the manifests, the image, the rules: against schemas, the code, a real API server
	@$(BIN)/python -m deploy.check $(K8S_CHECK)

render: $(STAMP)/dev ## write the manifests that follow from tables
	@$(BIN)/python -m deploy.render

bench: $(STAMP)/dev ## measure; writes build/bench.json
	@$(BIN)/python -m bench

truth: $(STAMP)/ready ## judge simulated cities whose truth is known; writes build/truth.json
	@$(BIN)/python -m simulation.truth

chaos: $(STAMP)/dev ## kill everything at random and recount
	@$(BIN)/python -m pytest -m 'slow or not slow' tests/e2e

format: $(STAMP)/dev ## write the format that check wants
	@$(BIN)/python -m ruff format $(wildcard $(ALL))
	@$(BIN)/python -m ruff check --fix $(wildcard $(ALL))

lock: $(STAMP)/dev ## compile requirements/*.in anew (needs uv) and resolve Kafka's jars
	@command -v uv >/dev/null || { echo 'make lock needs uv on PATH' >&2; exit 1; }
	@for name in base image dev java; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
			--no-emit-index-url --no-emit-find-links requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done
	@$(BIN)/python -m embedded.kafka_jars --lock

# What has been done leaves a stamp, so that the second run is instant.

$(STAMP)/venv:
	@if [ -z '$(PYTHON)' ]; then \
		echo 'Yumai needs Python 3.11 or newer, and found none (python3.13, python3.12, python3.11, python3).' >&2; \
		echo 'Install one, or say where it is: make PYTHON=/path/to/python3 ...' >&2; exit 1; fi
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) can make no virtual environment: its modules venv and ensurepip are missing.' >&2; \
		echo 'On Debian and Ubuntu: apt-get install python3-venv. Or: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@echo "virtual environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMP) && touch $@

$(STAMP)/packages: $(STAMP)/venv requirements/base.txt pyproject.toml
	@echo 'installing packages'
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/base.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(STAMP)/engines: $(STAMP)/packages requirements/kafka.txt requirements/java.txt
	@$(BIN)/python -m embedded.java
	@$(BIN)/python -m embedded.kafka_jars
	@touch $@

# Compiles what is compiled on first use, so that the first start is as quick as the others.
$(STAMP)/ready: $(STAMP)/engines console/warm.py
	@echo 'warming up'; $(BIN)/python -m console.warm
	@touch $@

$(STAMP)/dev: $(STAMP)/ready requirements/dev.txt
	@echo 'installing what tests need'
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/dev.txt
	@touch $@

.PHONY: help install run clean test check asyncapi k8s-check render bench truth chaos format lock
