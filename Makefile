# Needs Python >= 3.11 and make, and `make test` a C compiler (for the compiled core). `make help` lists what there is.
#
# Set-up happens by itself: a virtual environment in .venv, filled by pip with pip's own settings (index, mirror,
# certificates, proxies) with what the lock in requirements/ names, again only when the lock or pyproject.toml has
# changed. PYTHON=python3.12 chooses the interpreter, and an environment of its own: .venv-3.12.
# ARGS=... passes options on: make demo ARGS=--keep

ifdef PYTHON
VERSION := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
$(if $(VERSION),,$(error halter: expected the name or path of a Python in PYTHON, found '$(PYTHON)'))
endif
VENV := .venv$(addprefix -,$(VERSION))
BIN := $(VENV)/bin
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
COMPILED := $(VENV)/compiled
# For tests: the compiler optimizes less, and is ready minutes earlier.
COMPILED_QUICKLY := $(VENV)/compiled-quickly
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
INSTALL_HALTER := $(PIP_INSTALL) --quiet --no-deps --no-build-isolation --editable .
# Empty: the newest releases that pyproject.toml allows are installed, and not those of the lock.
LOCKED := yes
UV := uv==0.13.9
# The type checker of the scripts of a page, where npm is there to install it.
TSC := $(if $(shell command -v npm 2>/dev/null),$(VENV)/node/node_modules/.bin/tsc)
ARGS ?=
CORE ?=
# As many processes as the smallest machine that CI has may have cores; which takes what: tests/conftest.py
IN_TWO := --numprocesses 2 --dist loadscope
# CORE=compiled. The folder of the checkout is not put before the compiled core, for any process that is started.
MEASURED := $(if $(filter compiled,$(CORE)),$(COMPILED)/.built,$(DEV))
WITH_CORE := $(if $(filter compiled,$(CORE)),PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED):$(CURDIR))

# Bytecode is kept, whatever the environment asks for: a run of the tests starts hundreds of processes, each of which
# would compile again what it imports of this checkout. That is a third of what a worker needs to start.
export PYTHONDONTWRITEBYTECODE :=

# A checkout of the former code, with an environment in its .venv: it is measured beside this one.
BESIDE := $(if $(FORMER),--former "$(FORMER)")

.DEFAULT_GOAL := help
.PHONY: help demo broker test compiled check lint format types contracts chaos outages simulate guard search fuzz histories bench bench-full docs release setup lock newest clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r name what; do \
		printf '  make %-10s %s\n' "$$name" "$$what"; done

demo: $(if $(CORE),$(MEASURED),$(RUN)) ## Run the main job on a real Kafka: halt, handle, resume; kill -9 included
	@$(WITH_CORE) $(BIN)/halter demo $(ARGS)

broker: $(RUN) ## Run the embedded Kafka until Ctrl-C
	@$(BIN)/halter broker $(ARGS)

test: $(DEV) ## Run every check and every test (real Kafka included): half an hour on two cores
	@$(MAKE) --no-print-directory --jobs 2 lint types contracts $(COMPILED_QUICKLY)/.built  # the compiler takes one core
	@$(MAKE) --no-print-directory guard compiled
	@$(BIN)/python -m pytest $(IN_TWO) $(ARGS)

check: lint types contracts ## Run what needs no Kafka: a few minutes
	@$(BIN)/python -m pytest -m "not broker and not docker and not chaos" $(ARGS)

compiled: $(COMPILED_QUICKLY)/.built ## Test the core as mypyc compiles it: two minutes to build, two to test
	@HALTER_CORE=compiled $(BIN)/pytest $(IN_TWO) -o pythonpath=$(COMPILED_QUICKLY) -p no:cacheprovider tests/core tests/fold/test_released.py \
		tests/codec/test_encoder_module.py tests/explore tests/halter/test_verify.py \
		--ignore tests/core/test_search_finds.py

simulate: $(MEASURED) ## Simulate workers over a model of Kafka, thousands of faults a minute (MINUTES=10 SEED=1)
	@$(WITH_CORE) $(BIN)/python -m tests.simulation --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1) $(ARGS)

chaos: $(MEASURED) ## Attack real workers and brokers, then judge (TIME=120 SEED=1 FAULTS=kill,zombie BROKERS=1)
	@$(WITH_CORE) $(BIN)/python -m tests.chaos --seconds $(or $(TIME),120) --brokers $(or $(BROKERS),3) \
		--faults $(or $(FAULTS),all) $(if $(SEED),--seed $(SEED)) $(ARGS)

outages: $(DEV) ## Overload a worker for a minute, take its broker away for two: a quarter of an hour
	@HALTER_LONG_OUTAGES=1 $(BIN)/python -m pytest tests/broker/test_runtime_outages.py -rP --timeout 3600 $(ARGS)

guard: $(DEV) ## Check that an interrupt has not become dearer in the fold (ARGS=--renew makes this the baseline)
	@$(BIN)/python -m bench.guard $(filter --renew,$(ARGS))

search: $(DEV) ## Explore every order of inputs, far: minutes, on all processors (STATES=1000000 in all)
	@HALTER_SEARCH_STATES=$(or $(STATES),1000000) HALTER_CORRELATION_ACTS=4 $(BIN)/python -m pytest \
		tests/core/test_search.py tests/core/test_correlation_search.py --timeout 0 -rP $(ARGS)

fuzz: $(DEV) ## Try random WfSpecs, commands and bytes for long (EXAMPLES=20000 per property)
	@HALTER_EXAMPLES=$(or $(EXAMPLES),20000) HALTER_MANY=100000 $(BIN)/python -m pytest tests/core/test_properties.py \
		tests/core/test_fork.py tests/core/test_migrations.py tests/fold/test_hostile.py --timeout 0 $(ARGS)
	@HALTER_DEAREST=1 $(BIN)/python -m pytest tests/fold/test_dearest_records.py --timeout 0 $(ARGS)

histories: $(DEV) ## Run every scenario on a real Kafka, and make it of its history again: minutes
	@HALTER_ALL_HISTORIES=1 $(BIN)/python -m pytest tests/broker/test_histories_of_scenarios.py $(ARGS)

bench: $(MEASURED) ## Measure on a real Kafka: ten minutes (CORE=compiled FORMER=FOLDER; ARGS=--write: to docs/performance.md)
	@$(WITH_CORE) $(BIN)/python -m bench $(BESIDE) $(ARGS)

bench-full: $(MEASURED) ## Measure far: more partitions, WfRuns, workers and brokers, restarts; an hour
	@$(WITH_CORE) $(BIN)/python -m bench --full $(BESIDE) $(ARGS)

docs: $(DEV) ## Build all pages as a site into build/docs/site, links and anchors checked (ARGS=--no-npm)
	@$(BIN)/python -m docs.site.build $(ARGS)

release: $(DEV) ## Build a release into dist/ and check it: ten minutes (ARGS=--trial: whatever this commit is; docs/releasing.md)
	@$(BIN)/python -m release $(ARGS)

lint: $(DEV) ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(DEV) ## Format the code and repair what ruff can repair
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(DEV) $(TSC) ## Check types (mypy, strict; with npm also those of the scripts in pages)
	@$(BIN)/mypy
	@for folder in examples/*/; do $(BIN)/mypy --strict "$$folder" || exit 1; done  # modules of two may have one name
	@$(if $(TSC),if [ -x $(TSC) ]; then $(TSC) --project tests/page_types; fi)

contracts: $(DEV) ## Check that dependencies point one way and the core is pure
	@$(BIN)/lint-imports --no-logo

setup: $(DEV) ## Install everything and start nothing

newest: ## Run `make test` on the newest releases that pyproject.toml allows, in a new environment
	@rm -rf $(VENV)-newest
	@$(MAKE) --no-print-directory test VENV=$(VENV)-newest LOCKED=

# What builds the project is part of the lock, so that its installation fetches nothing.
lock: | $(BIN)/python ## Write the lock for pyproject.toml, keeping versions (ARGS=--upgrade: take the newest)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(BIN)/python -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install --quiet --disable-pip-version-check $(UV) && \
	listed() { $(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))$$1, sep='\n')"; } && \
	builders() { listed "['build-system']['requires']"; } && \
	compilers() { listed "['tool']['hatch']['build']['targets']['wheel']['hooks']['custom']['compiler']"; } && \
	compile() { "$$folder/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(ARGS) "$$@" -; } && \
	builders | compile --all-extras --output-file requirements/dev.txt pyproject.toml && \
	builders | compile --constraint requirements/dev.txt --extra all --output-file requirements/run.txt pyproject.toml && \
	compile --constraint requirements/dev.txt --extra console --extra engine --output-file requirements/image.txt \
		pyproject.toml </dev/null && \
	{ builders; compilers; } | compile --constraint requirements/dev.txt --output-file requirements/build.txt

clean: ## Remove the virtual environments and caches
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist

$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "halter: making $(VENV) with $$("$$python" --version)"; \
			"$$python" -m venv $(VENV) && exit 0; \
			rm -rf $(VENV); \
			echo "halter: $$python cannot make a virtual environment (see above);" \
				"on Debian and Ubuntu install its venv package: apt install python3-venv" >&2; \
			exit 1; \
		fi; \
	done; \
	echo "halter: expected Python 3.11 or newer on the PATH, found" \
		"$$($(or $(PYTHON),python3) --version 2>/dev/null || echo none); name one with make PYTHON=/path/to/python3" >&2; \
	exit 1

$(COMPILED_QUICKLY)/.built: private OPTIMIZED := CFLAGS="$$CFLAGS -O1"
$(COMPILED)/.built $(COMPILED_QUICKLY)/.built: hatch_build.py $(shell find processors halter schemas -name '*.py' -o -name '*.avsc') $(DEV)
	@echo "halter: compiling the core (minutes)"
	@rm -rf $(@D)
	@$(OPTIMIZED) HALTER_CORE=compiled $(PIP_INSTALL) --quiet --no-deps --no-build-isolation --target $(@D) .
	@touch $@

$(VENV)/node/node_modules/.bin/tsc: tests/page_types/package.json tests/page_types/package-lock.json | $(BIN)/python
	@echo "halter: installing the type checker of scripts, once (about 10 MB)"
	@mkdir -p $(VENV)/node && cp $^ $(VENV)/node && cd $(VENV)/node && npm ci --silent --no-audit --no-fund && touch node_modules/.bin/tsc \
		|| echo "halter: npm cannot install it, so the types of the scripts are not checked"

ifeq ($(LOCKED),yes)
$(RUN): requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "halter: installing what Halter runs on, once (about 65 MB)"
	@$(PIP_INSTALL) --require-hashes --requirement $<
	@$(INSTALL_HALTER)
	@touch $@

$(DEV): requirements/dev.txt $(RUN)
	@echo "halter: installing the tools for development, once (about 90 MB)"
	@$(PIP_INSTALL) --require-hashes --requirement $<
	@touch $@
else
$(RUN): | $(BIN)/python
	@$(PIP_INSTALL) --upgrade --upgrade-strategy eager --editable ".[all]"
	@touch $@

$(DEV): $(RUN)
	@$(PIP_INSTALL) --upgrade --upgrade-strategy eager --editable ".[dev]"
	@touch $@
endif
