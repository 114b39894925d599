# Every target sets up .venv by itself; only Python 3.11+ and pip are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all lint wheel bench torch clean help

help:
	@echo 'make demo    set up, then train, propose and evaluate on generated data'
	@echo 'make test    set up, then run the tests (SLOW=1: the long ones too)'
	@echo 'make lint    ruff check and format check'
	@echo 'make wheel   build the wheel, try it in an empty environment'
	@echo 'make bench   benchmarks, against other tools where they are installed'
	@echo 'make torch   add PyTorch: more tests and benchmark rows compare with it'

# Without TensorFlow, which is more than all the rest: batches then come from a
# thread. `make test` and `make bench` add it.
$(VENV)/.core: pyproject.toml requirements.txt requirements-formats.txt requirements-review.txt requirements-serve.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[formats,review,serve]'
	touch $@

$(VENV)/.installed: $(VENV)/.core requirements-tf.txt requirements-test.txt
	$(BIN)/python -m pip install --quiet -e '.[tf,formats,review,serve,test]'
	touch $@

demo: $(VENV)/.core
	$(BIN)/python -m launch.demo --workdir=runs/demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 $(if $(SLOW),,-m 'not slow')

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/.installed
	$(BIN)/python -m launch.benchmark --suite=all --output=runs/benchmark

# In an environment of its own, away from the checkout, as a user would.
wheel:
	PYTHON=$(PYTHON) .ci/try_wheel

torch: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -r requirements-torch.txt

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
