# make run    set up what is missing, then start the demo (PORT=8000, DATA=folder of its data, ARGS=--reset)
# make graphiql  the files of the page at /graphql, so that no browser needs a CDN; run and test do it where npm is
# make test   the tests, on PostgreSQL servers of their own (STOREGRAPH_POSTGRES=path: the one on PATH)
# make test-all  the same with thousands of documents and values made at random, in place of a hundred; an hour or so
# make check  format, lint and types
# make bench  the gateway beside others, on databases of its own (ARGS="--rounds 3 backoffice")
# make client-packages  what the examples and the tests of clients need; test does it
# make lock   resolve the dependencies of pyproject.toml anew
# make clean  remove the environment and the caches; the demo's data stay
#
# All of them need only make and Python 3.11 or newer; another one than python3 is named by PYTHON=python3.12.

PORT ?= 8000
DATA ?=
PYTHON ?= python3
BIN := .venv/bin
ARIADNE := .venv/ariadne
UV := $(shell command -v uv 2>/dev/null)

# Much faster where it is at hand; both install exactly what a lock says.
ifdef UV
CREATE = uv venv --quiet --clear --python $(PYTHON) .venv
INSTALL = uv pip install --quiet --compile-bytecode --python $(BIN)/python
INSTALL_ARIADNE = uv pip install --quiet --python $(ARIADNE)/bin/python
else
CREATE = $(PYTHON) -m venv --clear .venv
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALL_ARIADNE = $(BIN)/python -m pip --python $(ARIADNE)/bin/python install --quiet --disable-pip-version-check \
	--no-compile
endif

.PHONY: run graphiql test test-all audit-packages client-packages check bench peer-packages lock clean

run: .venv/.runtime graphiql
	@exec $(BIN)/storegraph demo --port $(PORT) $(if $(DATA),--data-dir "$(DATA)") $(ARGS)

# What is there already is not fetched again. Without npm, or without its registry, the page asks a CDN.
graphiql: .venv/.runtime
ifneq ($(shell command -v npm 2>/dev/null),)
	@$(BIN)/storegraph graphiql install >/dev/null || echo "*** GraphiQL COMES FROM A CDN, see above." >&2
endif

# A worker starts a server of its own, so that more of them soon gain nothing. What is skipped is told, with the reason.
TEST = $(BIN)/pytest -n auto --maxprocesses 4 -rs
TESTED = .venv/.dev audit-packages client-packages graphiql
test: $(TESTED)
	$(TEST)
test-all: $(TESTED)
	$(TEST) --hypothesis-profile=nightly

# The audits of GraphQL over HTTP are npm's, and so are most clients and a peer of the benchmark; without npm, or without
# its registry, they are skipped.
AUDIT = tests/http_audit
EXAMPLE = examples/typescript
CLIENTS = tests/clients
PEER = bench/peers/mercurius
$(AUDIT)/%: SKIPPED = GraphQL over HTTP IS NOT AUDITED
$(EXAMPLE)/%: SKIPPED = THE TYPESCRIPT EXAMPLE IS NOT TRIED
$(CLIENTS)/%: SKIPPED = CLIENT GENERATORS ARE NOT TRIED
$(PEER)/%: SKIPPED = mercurius IS NOT MEASURED
audit-packages: $(AUDIT)/node_modules/.package-lock.json
client-packages: $(EXAMPLE)/node_modules/.package-lock.json $(CLIENTS)/node_modules/.package-lock.json \
	$(ARIADNE)/.installed
peer-packages: $(PEER)/node_modules/.package-lock.json

ifneq ($(shell command -v npm 2>/dev/null),)
%/node_modules/.package-lock.json: %/package-lock.json
	@npm --prefix $* ci --no-audit --no-fund --ignore-scripts --loglevel=error && touch $@ || \
		echo "*** $(SKIPPED): npm could not install its packages." >&2
else
%/node_modules/.package-lock.json:
	@echo "*** $(SKIPPED): there is no npm." >&2
endif

# It needs an older graphql-core than we do.
$(ARIADNE)/.installed: $(CLIENTS)/ariadne.lock .venv/.python
	@$(BIN)/python -m venv --clear --without-pip $(ARIADNE)
	@$(INSTALL_ARIADNE) --require-hashes -r $< && touch $@ || \
		echo "*** ariadne-codegen IS NOT TRIED: it could not be installed." >&2

check: .venv/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

bench: .venv/.runtime peer-packages
	$(BIN)/python -m bench.throughput $(ARGS)

# The runtime's lock holds to the other one, so that tests run on what is shipped; what builds the editable install is
# in both.
LOCK = uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate
lock: .venv/.python
	command -v uv || $(INSTALL) uv
	PATH="$(BIN):$$PATH" $(LOCK) --all-extras pyproject.toml -o requirements-dev.lock
	printf '%s\n' hatchling editables | PATH="$(BIN):$$PATH" $(LOCK) -c requirements-dev.lock pyproject.toml - \
		-o requirements.lock
	printf '%s\n' ariadne-codegen | PATH="$(BIN):$$PATH" $(LOCK) - -o $(CLIENTS)/ariadne.lock

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis dist app/_graphiql $(AUDIT)/node_modules $(PEER)/node_modules \
		$(CLIENTS)/node_modules $(EXAMPLE)/node_modules $(EXAMPLE)/dist $(EXAMPLE)/src/generated \
		examples/python/.venv
	find app examples migrations tests -name __pycache__ -exec rm -rf {} +

# The stamps: what was set up, and from which lock.
.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "storegraph needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>&1)." \
			"Name another one, as in: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up .venv; this takes half a minute, once."
	@$(CREATE)
	@touch $@

.venv/.runtime: .venv/.python requirements.lock pyproject.toml
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.python requirements-dev.lock pyproject.toml
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch .venv/.runtime $@
