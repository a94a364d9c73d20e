# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CORES  ?= 2

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\#.*/\1/p' $(MAKEFILE_LIST))
help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/'

$(STAMP): .ci/dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)   ## the real daemon on a fake runtime with a simulated node
	$(BIN)/reconciler demo

test: check unit real ## everything: types, style, unit tests, and real containerds where available

check: $(STAMP)  ## types and style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(STAMP)   ## all tests that need no runtime; three processes on two cores; COVERAGE=1 measures, checks the floors
	@rm -rf .cache/coverage
	@# Timed tests have priority on the processor: the others run with nice.
	$(BIN)/python -m pytest -q -m timed $$(grep -rl --include='*.py' 'mark\.timed' tests) \
	  > $(VENV)/timed.txt 2>&1 & timed=$$!; \
	nice -n 19 $(BIN)/python $(if $(COVERAGE),-m coverage run) -m pytest -q $(if $(COVERAGE),--timeout 300) \
	  -m "not real and not timed" -n $$((3 * $(CORES) / 2)) --dist worksteal; others=$$?; \
	wait $$timed; ours=$$?; cat $(VENV)/timed.txt; exit $$((others + ours))
	@$(if $(COVERAGE),$(BIN)/coverage combine -q && $(FLOORS))

# What `make unit` has to reach, branches counted: each folder with its floor.
floor   = $(BIN)/coverage report --include='$(1)/*' --fail-under=$(2)
FLOORS := $(call floor,reconciler/domain,98) && $(call floor,reconciler/engine,98) && \
          $(call floor,reconciler,92)

pythons: $(STAMP) ## make unit on every Python, with the lowest and latest dependencies (ONLY="3.13 lowest")
	$(BIN)/python .ci/pythons.py $(ONLY)

real: $(STAMP)   ## the tests on real containerds (root on Debian; else skipped with one line)
	$(BIN)/python -m pytest -q -rfE -m real -n 4 --dist loadfile

chaos: $(STAMP)  ## MINUTES=10 on each of MAJORS=1.6,1.7,2.x: pods, moving tags, kill -9 (root on Debian); SEED=n
	$(BIN)/python -m tests.real.chaos $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(MAJORS),--majors $(MAJORS)) $(if $(SEED),--seed $(SEED))

cluster: $(STAMP) ## a real Kubernetes with the shipped manifest (ONLY="race init"; PODS=off,api; root on Debian)
	$(BIN)/python -m tests.cluster $(ONLY) $(if $(PODS),--pods $(PODS)) \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ENOUGH),--enough $(ENOUGH))

bench: $(STAMP)  ## the figures of docs/benchmarks.md (ONLY="event start"; JSON=FILE, - for stdout)
	$(BIN)/python -m tests.bench $(ONLY) $(if $(JSON),--json $(JSON))

bench-eviction: $(STAMP) ## the figures of docs/eviction.md, into it (TRACES=DIR; SEEDS=21-25), in 40 minutes
	$(BIN)/python -m tests.bench.eviction --write docs/eviction.md \
	  $(if $(TRACES),--traces $(TRACES)) $(if $(SEEDS),--seeds $(SEEDS))

soak: $(STAMP)   ## the daemon in virtual time under random moves, MINUTES=10, SEED=n (else a fresh one)
	$(BIN)/python -m tests.model.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

fuzz: $(STAMP)   ## parsers and decoders on hostile bytes, MINUTES=10 for each of the three
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

protos: $(STAMP) ## generate the _pb folders of reconciler/ from protos/
	$(BIN)/python protos/generate.py

lock: $(STAMP)   ## pin all dependencies with hashes, without any index's address
	$(BIN)/python .ci/lock.py

wheels: $(STAMP) ## dist/wheels: what the container image is made of
	$(BIN)/python .ci/wheels.py dist/wheels

image: wheels    ## the container image, built by buildah (BASE=... names another base)
	buildah bud $(if $(BASE),--build-arg BASE=$(BASE)) -t reconciler -f Containerfile .

picture: $(STAMP) ## docs/demo.svg, taken from the demo in the middle of a reclaim
	$(BIN)/python docs/picture.py

page-picture: $(STAMP) ## docs/page.png and docs/page-dark.png, taken by a real Chromium
	$(BIN)/python docs/picture_page.py

clean:           ## remove the virtual environment and caches
	rm -rf $(VENV) dist .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
