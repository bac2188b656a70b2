# The graph of a study: which notebook needs which files. Papermill runs each of them.
#
#   python -m kikuhelpers quick                 the whole study (see kikuhelpers/__main__.py)
#   snakemake -n --config study=quick           the plan
#   python -m kikuhelpers paper --profile profiles/slurm    models in parallel on a cluster
#
# The settings a notebook depends on stand in its rule's params, so that a changed value
# makes that stage and what follows run again, and nothing else. Checkpoints of trainings
# are no outputs: they outlive a killed run.

import json
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)
from kikuhelpers.study.baselines import components_wanted, largest_pca
from kikuhelpers.study.layout import PREPROCESSED, Layout, ModelFiles, ModelScanFiles, ScanFiles
from kikuhelpers.study.study import PROJECT_ROOT, load_study

STUDY = str(config.get("study", "quick"))
study = load_study(STUDY)
layout = Layout(study)
SCANS, MODELS, BASELINES = list(study.scans), list(study.models), list(study.baselines)
MAPPED, DECODED = study.mapped_scans, study.decoded_scans
layout.notebooks.mkdir(parents=True, exist_ok=True)  # papermill does not make it

wildcard_constraints:
    scan="[^/]+",
    model="[^/]+",
    baseline="[^/]+",
    kind="models|baselines",


# File names with the wildcards in place of a scan's and a model's name.
scan_files = ScanFiles(layout.folder / "scans" / "{scan}")
model_files = ModelFiles(layout.folder / "models" / "{model}")
both_files = ModelScanFiles(layout.folder / "models" / "{model}" / "{scan}")
either_files = ModelScanFiles(layout.folder / "{kind}" / "{model}" / "{scan}")
baseline_files = [ModelScanFiles(layout.folder / "baselines" / "{baseline}" / s) for s in DECODED]
# Two models on a core each train faster than one model after the other on both; the last one
# that lacks weights has all cores. Where none lacks them, any may have new settings.
UNTRAINED = [name for name in MODELS if not layout.model(name).weights.is_file()]
TRAINING_THREADS = max(1, (workflow.cores or 1) // max(1, len(UNTRAINED or MODELS)))
TRAINING_SCANS = [name for name, scan in study.scans.items() if scan.training_patterns]
# What tables and figures leave in the results folder: the records of their notebooks. The
# files themselves may lie in a fresh clone before anything has run.
TABLES, FIGURES, SPECIMENS = map(
    layout.record, ("07_table1", "08_figures", "09_virtual_specimens")
)


def settings(*parts):
    """Text that changes when any of these settings does."""
    return json.dumps([part.model_dump() for part in parts], sort_keys=True)


def source_file(wildcards):
    """The file a scan is read from, so that a new one is noticed.

    A missing one is left to the notebook, which says so in one sentence.
    """
    path = getattr(study.scan(wildcards.scan), "path", "")
    return path if Path(path).is_file() else []


def background_file(wildcards):
    """The background of another scan, where a scan asks for it."""
    other = study.scan(wildcards.scan).background_of
    return layout.scan(other).background if other else []


def principal_components(wildcards):
    """Every PCA uses the components that the largest one fits and files."""
    largest = largest_pca(study.baselines)
    smaller = study.baseline(wildcards.baseline).method == "pca" and wildcards.baseline != largest
    return layout.model_scan(largest, DECODED[0]).decoded if smaller else []


def baseline_settings(wildcards):
    """What a baseline depends on; a PCA also on how many components are fitted for all."""
    baseline = study.baseline(wildcards.baseline)
    fitted = components_wanted(study.baselines, study.models) if baseline.method == "pca" else ""
    return f"{settings(baseline)} {fitted}"


def log_file(name):
    """Everything that a job printed, progress included."""
    return layout.folder / "logs" / f"{name}.log"


def papermill(name, *parameters, gpu=False, **fixed):
    """The command that runs a notebook with the wildcards named as parameters."""
    values = fixed | {p: f"{{wildcards.{p}}}" for p in parameters}
    parts = ".".join((name, *values.values()))
    given = " ".join(f"-p {key} {value}" for key, value in values.items())
    source = PROJECT_ROOT / "notebooks" / f"{name}.ipynb"
    executed = layout.notebooks / f"{parts}.ipynb"
    alone = f'"{sys.executable}" -m kikuhelpers.runs.one_gpu ' if gpu else ""
    return (
        f'{alone}"{sys.executable}" -m papermill --no-progress-bar --log-output '
        f'"{source}" "{executed}" -p study "{STUDY}" {given} > "{{log}}" 2>&1'
    )


VIRTUAL_SCANS = [name for name in SCANS if study.is_virtual(name)]


rule all:
    input:
        [TABLES, FIGURES] if MODELS else [],
        SPECIMENS if VIRTUAL_SCANS else [],


# Before everything else, and alone: see kikuhelpers/indexing/warm_up.py.
rule warm_up:
    output:
        layout.warm,
    log:
        log_file("warm_up"),
    shell:
        f'"{sys.executable}" -m kikuhelpers.indexing.warm_up > "{{log}}" 2>&1 && echo done > "{{output}}"'


rule diffraction_data:
    input:
        layout.warm,
        source_file,
    params:
        settings=lambda wildcards: settings(study.scan(wildcards.scan)),
    output:
        scan_files.raw,
        scan_files.card,
    log:
        log_file("01_diffraction_data.{scan}"),
    shell:
        papermill("01_diffraction_data", "scan")


rule preprocessing:
    input:
        scan_files.raw,
        background_file,
    params:
        settings=settings(study.preprocessing),
    output:
        scan_files.background,
        scan_files.preprocessed,
        scan_files.mask,
        scan_files.sample,
    threads: 4  # as many as kikuhelpers/patterns/streaming.py starts
    log:
        log_file("02_preprocessing.{scan}"),
    shell:
        papermill("02_preprocessing", "scan")


def training_settings(model):
    """A model's settings; its training is the same, written out for it or for the study."""
    network, training = study.model(model), study.training_of(model)
    if training == study.training:
        network = network.model_copy(update={"training": None})
    return settings(network, training)


def indexed_scan(wildcards):
    """Where a model holds out grains: the orientations that tell which."""
    hold_out = study.model(wildcards.model).hold_out
    return layout.orientations(PREPROCESSED, hold_out.scan) if hold_out else []


rule training:
    input:
        [layout.scan(name).sample for name in TRAINING_SCANS],
        indexed_scan,
    params:
        settings=lambda wildcards: training_settings(wildcards.model),
    output:
        model_files.weights,
        model_files.card,
        model_files.history,
    priority: 1  # the longest stage begins first
    threads: TRAINING_THREADS
    resources:
        gpu=1,
    log:
        log_file("03_training.{model}"),
    shell:
        papermill("03_training", "model", gpu=True)


# What the camera's own patterns say: pattern centre, orientations, quality. The latent
# maps are compared with it.
rule indexing:
    input:
        scan_files.preprocessed,
        scan_files.mask,
    params:
        settings=settings(study.indexing),
    output:
        scan_files.pattern_centre,
        scan_files.orientations,
    log:
        log_file("06_reindexing.preprocessed.{scan}"),
    shell:
        papermill("06_reindexing", "scan", model=PREPROCESSED)


rule latent_maps:
    input:
        model_files.weights,
        scan_files.preprocessed,
        scan_files.orientations,
    output:
        both_files.latents,
        both_files.features,
    resources:
        gpu=1,
    log:
        log_file("04_latent_maps.{model}.{scan}"),
    shell:
        papermill("04_latent_maps", "model", "scan", gpu=True)


rule reconstruction:
    input:
        model_files.weights,
        both_files.latents,
        scan_files.raw,
        scan_files.preprocessed,
    output:
        both_files.decoded,
        both_files.pattern_loss,
        both_files.residual,
        both_files.generated,
    resources:
        gpu=1,
    log:
        log_file("05_reconstruction.{model}.{scan}"),
    shell:
        papermill("05_reconstruction", "model", "scan", gpu=True)


rule baseline:
    input:
        [layout.scan(name).sample for name in TRAINING_SCANS],
        [layout.scan(name).preprocessed for name in DECODED],
        principal_components,
    params:
        settings=baseline_settings,
    output:
        [files.decoded for files in baseline_files],
        [files.pattern_loss for files in baseline_files],
    log:
        log_file("10_baselines.{baseline}"),
    shell:
        papermill("10_baselines", "baseline")


rule reindexing:
    input:
        either_files.decoded,
        scan_files.pattern_centre,
        scan_files.orientations,
    output:
        either_files.orientations,
    log:
        log_file("06_reindexing.{kind}.{model}.{scan}"),
    shell:
        papermill("06_reindexing", "model", "scan")


rule tables:
    input:
        [layout.orientations(PREPROCESSED, scan) for scan in SCANS],
        [layout.orientations(name, scan) for name in MODELS + BASELINES for scan in DECODED],
        [layout.model_scan(name, scan).pattern_loss for name in MODELS + BASELINES for scan in DECODED],
        [layout.model(model).card for model in MODELS],
    output:
        TABLES,
    log:
        log_file("07_table1"),
    shell:
        papermill("07_table1")


rule figures:
    input:
        TABLES,
        SPECIMENS if VIRTUAL_SCANS else [],  # run.json tells of it, too
        [layout.model(model).history for model in MODELS],
        [layout.model_scan(model, scan).features for model in MODELS for scan in MAPPED],
        [layout.model_scan(model, scan).decoded for model in MODELS for scan in DECODED],
    params:
        settings=settings(study.figures),
    output:
        FIGURES,
    log:
        log_file("08_figures"),
    shell:
        papermill("08_figures")


# The truth of each virtual scan beside its Hough maps, and how real its patterns look.
rule virtual_specimens:
    input:
        [layout.orientations(PREPROCESSED, scan) for scan in SCANS],
    output:
        SPECIMENS,
    log:
        log_file("09_virtual_specimens"),
    shell:
        papermill("09_virtual_specimens")
