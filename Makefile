# Two commands do all: `make demo` shows the whole path, `make test` proves it.
.PHONY: help demo test test-vm lint check bench chaos fuzz clean
V := .venv/bin

help:
	@echo "make demo    set up, then grade the sample course end to end (ARGS=... is passed on)"
	@echo "make test    set up, then ruff, mypy, import-linter and all tests"
	@echo "make test-vm sandbox and systemd unit in a virtual machine: unified cgroups, no user namespaces (as root)"
	@echo "make chaos   thousands of submissions while everything is killed and every answer may be spoilt"
	@echo "make fuzz    the codec under a coverage-guided fuzzer, ten minutes (ARGS=60: a minute)"
	@echo "make check   the quick part of it: linters and the fast tests"
	@echo "make bench   set up, then the table of docs/performance.md"
	@echo "make clean   remove virtualenvs and caches"

demo:
	@deploy/setup.sh demo
	@$(V)/warden demo $(ARGS)

test: lint
	deploy/run-tests.sh $(ARGS)

test-vm:
	@deploy/vm/test-vm.sh $(ARGS)

lint:
	deploy/setup.sh test
	$(V)/ruff check .
	$(V)/ruff format --check .
	$(V)/mypy
	$(V)/lint-imports --no-logo 2>/dev/null || $(V)/lint-imports

check: lint
	$(V)/python -m pytest -q -m "not slow" $(ARGS)

bench:
	@deploy/setup.sh bench
	@$(V)/python -m bench $(ARGS)

chaos:
	@deploy/setup.sh test
	@$(V)/python -m tests.chaos $(ARGS)

fuzz:
	@deploy/setup.sh test
	@sh tests/fuzz/run.sh $(ARGS)

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .promtool var
