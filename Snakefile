# The graph of a study: which notebook needs which files. Papermill runs each of them.
#
#   python -m kikuhelpers quick                 the whole study (see kikuhelpers/__main__.py)
#   python -m kikuhelpers quick --dry-run       the plan
#   python -m kikuhelpers paper --profile profiles/slurm    models in parallel on a cluster
#
# A rule is a stage; its files come from kikuhelpers/study/layout.py, and the fingerprint in its
# params from kikuhelpers/study/stages.py, so that a changed setting makes that stage and what
# follows run again, and nothing else. Checkpoints of trainings are no outputs: they outlive a
# killed run. All paths are relative to the study's results folder.

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)
from kikuhelpers.study import PROJECT_ROOT, load_study, roles, stages
from kikuhelpers.study.layout import (
    PICTURES,
    BaselineScanFiles,
    Layout,
    ModelFiles,
    ModelScanFiles,
    ScanFiles,
)
from kikuhelpers.study.load import ROOTS
from kikuhelpers.study.stages import Job

# Tables and figures alone, from the results that are there and from the archive.
FROM_ARCHIVE = bool(config.get("from_archive", False))
for kind in ROOTS:
    if kind in config:  # where the command runs; a node may have another environment
        os.environ[f"KIKUHELPERS_{kind.upper()}"] = unquote(config[kind])
# What submits jobs to a cluster quotes nothing.
for path in (os.getcwd(), str(PROJECT_ROOT), sys.executable) if workflow.resource_settings.nodes else ():
    if re.search(r"[^\w@%+=:,./-]", path):
        wrong = f"A cluster's shell would read {path}: use letters, digits and ._- alone."
        print(wrong, file=sys.stderr)  # what Snakemake would say is quiet
        raise WorkflowError(wrong)
study = load_study(unquote(str(config.get("study", "quick"))))
STUDY = study.origin.source  # its name, or the whole path of its file
layout = Layout(study)
SCANS, MODELS, BASELINES = list(study.scans), list(study.models), list(study.baselines)
MAPPED, DECODED = study.mapped_scans, study.decoded_scans
# Two models on a core each train faster than one model after the other on both; the last one
# that lacks weights has all cores. Where none lacks them, any may have new settings.
UNTRAINED = [name for name in MODELS if not layout.model(name).weights.is_file()]
TRAINING_THREADS = max(1, (workflow.cores or 1) // max(1, len(UNTRAINED or MODELS)))
Path("notebooks").mkdir(exist_ok=True)  # papermill does not make it

wildcard_constraints:
    scan="|".join(map(re.escape, SCANS)),
    model="|".join(map(re.escape, [*MODELS, *BASELINES])),
    baseline="|".join(map(re.escape, BASELINES)) or "none",


def files_of(kind, *folder):
    """The files of a scan, model or baseline in a folder, whose names may be wildcards."""
    return kind(lambda stage: Path(*folder))


def made(stage, *files):
    """What a stage makes of some files wherever it runs, by name."""
    return [
        (place.folder_of(stage) / result.name).as_posix()
        for place in files
        for result in place.results()
        if result.stage == stage and not result.only_where
    ]


def record(stage, *parts):
    """The record that a job leaves at its end."""
    return f"runs/{Job(stage, parts)}.json"


def log_file(stage, *parts):
    """Everything that a job printed, progress included."""
    return f"logs/{Job(stage, parts)}.log"


def fingerprint(stage, *names):
    """All settings that a job depends on, as a hash, by the wildcards that name the job."""
    return lambda wildcards: layout.dependencies.fingerprint(
        Job(stage, tuple(getattr(wildcards, name) for name in names))
    )


def quoted(text):
    """A text for the shell, whatever it holds; Snakemake takes doubled braces for single ones."""
    text = subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)
    return text.replace("{", "{{").replace("}", "}}")


def papermill(stage, *names, gpu=False, **values):
    """The command that runs a notebook with the wildcards named as parameters, as text."""
    ask = PROJECT_ROOT / "kikuhelpers" / "runs" / "fork_server.py"
    wildcards = {name: f"{{wildcards.{name}}}" for name in names}
    given = {"study_name": quoted(STUDY)} | wildcards
    return " ".join(
        (
            # In the shell's place: it is then Snakemake's own child, and told when that dies.
            "exec" * (os.name == "posix"),
            f"{quoted(sys.executable)} -SE {quoted(str(ask))}{' --gpu' if gpu else ''}",
            "--no-progress-bar --log-output",
            quoted(str(PROJECT_ROOT / "notebooks" / f"{stage}.ipynb")),
            f"notebooks/{Job(stage, tuple(wildcards.values()))}.ipynb",
            *(f"-r {name} {value}" for name, value in given.items()),
            *(f"-p {name} {value}" for name, value in values.items()),
            "> {log:q} 2>&1",
        )
    )


def link_to_figures():
    """The figures folder by a short name, so that no path holds what Snakemake would read."""
    layout.figures.mkdir(parents=True, exist_ok=True)
    link = Path("figures")
    try:
        if link.is_symlink() and link.resolve() != layout.figures:
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(layout.figures, target_is_directory=True)
    except OSError:  # Windows without the right to make links
        return layout.figures
    return link


def drawn(stage):
    """Tables and figures of a stage; older ones stay until new ones are there."""
    if FROM_ARCHIVE:
        return []  # of those that have results; the record names them
    names = [path.name for path in layout.outputs(Job(stage))]
    if stage == stages.FIGURES:  # the pictures themselves are known only when they are drawn
        names = [name for name in names if not name.endswith(PICTURES)]
    return [update((FIGURES_FOLDER / name).as_posix()) for name in names]


FIGURES_FOLDER = link_to_figures()
scan = files_of(ScanFiles, "scans", "{scan}")
model = files_of(ModelFiles, "models", "{model}")
model_scan = files_of(ModelScanFiles, "models", "{model}", "{scan}")
baseline_scan = files_of(BaselineScanFiles, "baselines", "{model}", "{scan}")


def of_scan(name):
    return files_of(ScanFiles, "scans", name)


def of_decoder(name, scan):
    kind = "baselines" if name in BASELINES else "models"
    return files_of(ModelScanFiles, kind, name, scan)


rule all:
    input:
        [record(stages.TABLE1), record(stages.FIGURES), record(stages.CLAIMS)] if MODELS else [],
        record(stages.VIRTUAL_SPECIMENS) if study.virtual_scans else [],


# Before everything else, and alone: see kikuhelpers/indexing/warm_up.py.
rule warm_up:
    output:
        layout.warm.name,
    log:
        "logs/warm_up.log",
    shell:
        f"{quoted(sys.executable)} -m kikuhelpers.indexing.warm_up > {{log:q}} 2>&1"
        " && echo done > {output:q}"


def data_fingerprint(wildcards):
    """Of a scan that is read from a file the time of that file as well: a new one is noticed.

    The file is no input, for Snakemake would read braces in its path. A missing one is left to
    the notebook, which says so in one sentence.
    """
    path = Path(getattr(study.scan(wildcards.scan).data, "path", ""))
    time = f" {path.stat().st_mtime_ns}" if path.is_file() else ""
    return fingerprint(stages.DATA, "scan")(wildcards) + time


rule diffraction_data:
    input:
        layout.warm.name,
    params:
        fingerprint=data_fingerprint,
    output:
        made(stages.DATA, scan),
        record(stages.DATA, "{scan}"),
    log:
        log_file(stages.DATA, "{scan}"),
    shell:
        papermill(stages.DATA, "scan")


def background_file(wildcards):
    """The background of another scan, where a scan asks for it."""
    other = study.scan(wildcards.scan).preprocessing.background_of
    return str(of_scan(other).background) if other in SCANS else []


rule preprocessing:
    input:
        str(scan.raw),
        background_file,
    params:
        fingerprint=fingerprint(stages.PREPROCESSING, "scan"),
    output:
        made(stages.PREPROCESSING, scan),
        record(stages.PREPROCESSING, "{scan}"),
    threads: 4  # as many as kikuhelpers/patterns/streaming.py starts
    log:
        log_file(stages.PREPROCESSING, "{scan}"),
    shell:
        papermill(stages.PREPROCESSING, "scan")


# What the camera's own patterns say: pattern centre, orientations, quality.
rule indexing:
    input:
        str(scan.preprocessed),
        str(scan.mask),
    params:
        fingerprint=fingerprint(stages.INDEXING, "scan"),
    output:
        made(stages.INDEXING, scan),
        record(stages.INDEXING, "{scan}"),
    log:
        log_file(stages.INDEXING, "{scan}"),
    shell:
        papermill(stages.INDEXING, "scan")


def indexed_scan(wildcards):
    """Where a model holds out grains: the orientations that tell which."""
    hold_out = study.model(wildcards.model).hold_out
    return str(of_scan(hold_out.scan).orientations) if hold_out else []


def training_patterns(wildcards):
    """The patterns that a model is trained on; none, where it was trained elsewhere."""
    scans = [] if study.model(wildcards.model).weights else study.training_scans
    return [str(of_scan(name).preprocessed) for name in scans]


def smaller_model(wildcards):
    """Where a model is grown from another: the weights of that one."""
    small = study.training_of(wildcards.model).grown_from
    return str(files_of(ModelFiles, "models", small).weights) if small else []


def dimensions_to_come(wildcards):
    """How large a network the largest one is that grows from a model: the longest path first."""

    def largest(name):
        grown = [n for n in MODELS if study.training_of(n).grown_from == name]
        return max(map(largest, grown), default=study.model(name).latent_dim)

    return largest(wildcards.model)


def dimensions(wildcards):
    """How large a network is: the larger ones, which take longer, first."""
    return study.model(wildcards.model).latent_dim


rule training:
    input:
        training_patterns,
        indexed_scan,
        smaller_model,
    params:
        fingerprint=fingerprint(stages.TRAINING, "model"),
    output:
        made(stages.TRAINING, model),
        record(stages.TRAINING, "{model}"),
    priority: dimensions_to_come
    threads: TRAINING_THREADS
    resources:
        gpu=1,
    log:
        log_file(stages.TRAINING, "{model}"),
    shell:
        papermill(stages.TRAINING, "model", gpu=True)


def orientations_if_awaited(wildcards):
    """Measures against orientations are made where the study knows the scan's phase."""
    known = study.indexing_of(wildcards.scan).phases
    return str(of_scan(wildcards.scan).orientations) if known else []


rule latent_maps:
    input:
        str(model.weights),
        str(scan.preprocessed),
        orientations_if_awaited,
    params:
        fingerprint=fingerprint(stages.LATENT_MAPS, "model", "scan"),
    output:
        made(stages.LATENT_MAPS, model_scan),
        record(stages.LATENT_MAPS, "{model}", "{scan}"),
    priority: dimensions
    resources:
        gpu=1,
    log:
        log_file(stages.LATENT_MAPS, "{model}", "{scan}"),
    shell:
        papermill(stages.LATENT_MAPS, "model", "scan", gpu=True)


rule reconstruction:
    input:
        str(model.weights),
        ancient(str(model_scan.latents)),  # new measures of the same latents decode nothing anew
        str(scan.raw),
        str(scan.preprocessed),
    params:
        fingerprint=fingerprint(stages.RECONSTRUCTION, "model", "scan"),
    output:
        made(stages.RECONSTRUCTION, model_scan),
        record(stages.RECONSTRUCTION, "{model}", "{scan}"),
    priority: dimensions
    resources:
        gpu=1,
    log:
        log_file(stages.RECONSTRUCTION, "{model}", "{scan}"),
    shell:
        papermill(stages.RECONSTRUCTION, "model", "scan", gpu=True)


def principal_components(wildcards):
    """Every PCA uses the components that the largest one fits and files."""
    largest = study.largest_pca
    smaller = study.baseline(wildcards.baseline).method == "pca" and wildcards.baseline != largest
    return record(stages.BASELINES, largest) if smaller else []


def patterns_read(wildcards):
    """The patterns that a baseline reads: of its sample, of what it decodes and what it scores."""
    needs = layout.dependencies.of(Job(stages.BASELINES, (wildcards.baseline,)))[1]
    scans = {job.parts[0] for job in needs if job.stage == stages.PREPROCESSING}
    return [str(of_scan(name).preprocessed) for name in sorted(scans)]


rule baselines:
    input:
        patterns_read,
        principal_components,
    params:
        fingerprint=fingerprint(stages.BASELINES, "baseline"),
    output:
        made(
            stages.BASELINES,
            *(files_of(BaselineScanFiles, "baselines", "{baseline}", name) for name in DECODED),
        ),
        record(stages.BASELINES, "{baseline}"),
    log:
        log_file(stages.BASELINES, "{baseline}"),
    shell:
        papermill(stages.BASELINES, "baseline")


rule reindexing:
    wildcard_constraints:
        model="|".join(map(re.escape, MODELS)) or "none",
    input:
        str(model_scan.decoded),
        str(scan.pattern_centre),
        str(scan.orientations),
    params:
        fingerprint=fingerprint(stages.REINDEXING, "model", "scan"),
    output:
        made(stages.REINDEXING, model_scan),
        record(stages.REINDEXING, "{model}", "{scan}"),
    log:
        log_file(stages.REINDEXING, "{model}", "{scan}"),
    shell:
        papermill(stages.REINDEXING, "model", "scan")


use rule reindexing as reindexing_baseline with:
    wildcard_constraints:
        model="|".join(map(re.escape, BASELINES)) or "none",
    input:
        str(baseline_scan.decoded),
        str(scan.pattern_centre),
        str(scan.orientations),
    output:
        made(stages.REINDEXING, baseline_scan),
        record(stages.REINDEXING, "{model}", "{scan}"),


def table_inputs():
    if FROM_ARCHIVE:
        return []
    found = [str(of_scan(name).orientations) for name in SCANS]
    for name in MODELS + BASELINES:
        for scan in DECODED:
            found += made(stages.REINDEXING, of_decoder(name, scan))
            found.append(str(of_decoder(name, scan).pattern_loss))
    return found + [str(files_of(ModelFiles, "models", name).card) for name in MODELS]


rule table1:
    input:
        table_inputs(),
    params:
        fingerprint=fingerprint(stages.TABLE1),
    output:
        drawn(stages.TABLE1),
        record(stages.TABLE1),
    log:
        log_file(stages.TABLE1),
    shell:
        papermill(stages.TABLE1, use_archive=FROM_ARCHIVE)


def truth_inputs():
    if FROM_ARCHIVE:
        return []
    found = [str(of_scan(name).orientations) for name in SCANS]
    if scored := roles.scored_scans(study):
        found += [str(of_decoder(m, s).features) for m in roles.vaes(study) for s in scored]
        found += [record(stages.BASELINES, study.largest_pca)] if study.largest_pca else []
    return found


# The truth of each virtual scan beside its Hough maps, what shows it, and how real its patterns are.
rule virtual_specimens:
    input:
        truth_inputs(),
    params:
        fingerprint=fingerprint(stages.VIRTUAL_SPECIMENS),
    output:
        drawn(stages.VIRTUAL_SPECIMENS),
        record(stages.VIRTUAL_SPECIMENS),
    log:
        log_file(stages.VIRTUAL_SPECIMENS),
    shell:
        papermill(stages.VIRTUAL_SPECIMENS, use_archive=FROM_ARCHIVE)


def figure_inputs():
    if FROM_ARCHIVE:
        return []
    found = [str(of_decoder(m, s).features) for m in MODELS for s in MAPPED]
    return found + [str(of_decoder(m, s).decoded) for m in MODELS for s in DECODED]


rule figures:
    input:
        record(stages.TABLE1),
        record(stages.VIRTUAL_SPECIMENS) if study.virtual_scans and not FROM_ARCHIVE else [],
        figure_inputs(),
    params:
        fingerprint=fingerprint(stages.FIGURES),
    output:
        drawn(stages.FIGURES),
        record(stages.FIGURES),
    log:
        log_file(stages.FIGURES),
    shell:
        papermill(stages.FIGURES, use_archive=FROM_ARCHIVE)


rule claims:
    input:
        record(stages.TABLE1),
        record(stages.VIRTUAL_SPECIMENS) if study.virtual_scans else [],
        str(PROJECT_ROOT / "data" / "claims.yaml"),
        [str(PROJECT_ROOT / "docs" / f"{name}.csv") for name in ("experiments", "generalisation_claim")],
        [] if FROM_ARCHIVE else [str(of_decoder(m, s).features) for m in MODELS for s in MAPPED],
    params:
        fingerprint=fingerprint(stages.CLAIMS),
    output:
        drawn(stages.CLAIMS),
        record(stages.CLAIMS),
    log:
        log_file(stages.CLAIMS),
    shell:
        papermill(stages.CLAIMS, use_archive=FROM_ARCHIVE)
