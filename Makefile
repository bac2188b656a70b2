# make study      run the quick study (STUDY=in718_rx for another): it trains what it says
# make test       run all tests, the smoke study among them
# make lab        open JupyterLab on copies of the notebooks (results/notebooks/)
# make click      a map to click on, one HTML file: STUDY=in718_rx, its patterns must be there
# make book       build the book, a static site: results/book/index.html
# make figures    make a study's tables and figures from its results and, where these are
#                 missing, from data/archive: nothing is trained
# make figure FIG=5  one figure alone, likewise (STUDY=in718_rx for another study)
# make archive    renew data/archive/<study>/ from the study's results
# make bench      measure the speed of every stage on this machine (results/bench/)
# make soak       kill a small study 50 times, let its disk fail: docs/faults.md (an hour)
# make fuzz       let a fuzzer write files for every reader: docs/fuzz.csv (ten minutes)
# make scale      how time and memory grow with the map: docs/scale.md (an hour)
# make gpu-check  compare a GPU with the CPU and time training steps on it, in 8 minutes
# make gpu-train  train 64-D for 9 minutes; again: go on from the checkpoint
# make lock       renew requirements.lock from what .venv holds

STUDY ?= quick
PYTHON ?= python3
BIN := .venv/bin

COPIES := $(patsubst notebooks/%,results/notebooks/%,$(wildcard notebooks/*.ipynb))

.PHONY: study test lab click book figures figure archive bench soak fuzz scale gpu-check gpu-train lock

study: .venv/installed
	$(BIN)/python -m kikuhelpers $(STUDY)

figures: .venv/installed
	$(BIN)/python -m kikuhelpers $(STUDY) --figures

figure: .venv/installed
	$(BIN)/python -m kikuhelpers $(STUDY) --figure $(FIG)

archive: .venv/installed
	$(BIN)/python -m kikuhelpers $(STUDY) --archive
	$(BIN)/python -m docs.book.executed $(STUDY)

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

bench: .venv/installed
	$(BIN)/python -m benchmarks

soak: .venv/installed
	$(BIN)/python -m docs.faults

fuzz: .venv/installed
	$(BIN)/pip install --quiet --no-deps atheris==3.0.0
	$(BIN)/python -m docs.fuzz

scale: .venv/installed
	$(BIN)/python -m docs.scale

gpu-check: .venv/installed
	$(BIN)/python -m benchmarks.gpu_check

gpu-train: .venv/installed
	$(BIN)/python -m benchmarks.gpu_train

lab: .venv/installed $(COPIES)
	$(BIN)/jupyter lab --ServerApp.ip=localhost --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/results/notebooks

# Opening a notebook changes its file: so git's own is never opened. A copy older than git's
# notebook gives way to it, and stays beside it.
results/notebooks/%.ipynb: notebooks/%.ipynb
	@mkdir -p $(@D)
	@[ ! -e $@ ] || mv $@ $(basename $@).before.ipynb
	@cp $< $@

click: .venv/installed
	$(BIN)/python -m docs.click_page $(STUDY)

book: .venv/book
	$(BIN)/python -m docs.book.build

lock: .venv/installed
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v -i '^nvidia\|^triton' > requirements.lock

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

.venv/book: docs/requirements.lock .venv/installed
	$(BIN)/pip install --quiet --no-deps -r docs/requirements.lock
	touch $@
