# make study      run the quick study (STUDY=in718_rx for another): it trains what it says
# make test       run all tests, the smoke study among them
# make lab        open JupyterLab on the notebooks
# make figures    make a study's tables and figures from its results and, where these are
#                 missing, from data/archive: nothing is trained
# make figure FIG=5  one figure alone, likewise (STUDY=in718_rx for another study)
# make archive    renew data/archive/<study>/ from the study's results
# make bench      measure the speed of every stage on this machine (results/bench/)
# make gpu-check  compare a GPU with the CPU and time training steps on it, in 8 minutes
# make gpu-train  train 64-D for 9 minutes; again: go on from the checkpoint
# make lock       renew requirements.lock from what .venv holds

STUDY ?= quick
PYTHON ?= python3
BIN := .venv/bin

.PHONY: study test lab figures figure archive bench gpu-check gpu-train lock

study: .venv/installed
	$(BIN)/python -m kikuhelpers $(STUDY)

figures: .venv/installed
	$(BIN)/python -m kikuhelpers $(STUDY) --figures

figure: .venv/installed
	$(BIN)/python -m kikuhelpers $(STUDY) --figure $(FIG)

archive: .venv/installed
	$(BIN)/python -m kikuhelpers $(STUDY) --archive

test: .venv/installed
	$(BIN)/python -m pytest

bench: .venv/installed
	$(BIN)/python -m benchmarks

gpu-check: .venv/installed
	$(BIN)/python -m benchmarks.gpu_check

gpu-train: .venv/installed
	$(BIN)/python -m benchmarks.gpu_train

lab: .venv/installed
	$(BIN)/jupyter lab notebooks

lock: .venv/installed
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v -i '^nvidia\|^triton' > requirements.lock

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@
