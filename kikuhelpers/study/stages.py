"""What each stage of a study depends on: the one place that says so.

A stage is a notebook. A job is one run of a notebook on a scan, a model, or both. A job depends
on some settings and on other jobs: its fingerprint changes when one of these settings changes, or
the fingerprint of one of these jobs.

The graph of runs, the checkpoints of trainings, the readers of results and the archive compare
fingerprints, and nothing else.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePath

from kikuhelpers.study import roles
from kikuhelpers.study.models import Model
from kikuhelpers.study.scans import FILE
from kikuhelpers.study.study import Study
from kikuhelpers.study.values import Settings

DATA = "01_diffraction_data"
PREPROCESSING = "02_preprocessing"
INDEXING = "03_indexing"
TRAINING = "04_training"
LATENT_MAPS = "05_latent_maps"
RECONSTRUCTION = "06_reconstruction"
BASELINES = "07_baselines"
REINDEXING = "08_reindexing"
TABLE1 = "09_table1"
VIRTUAL_SPECIMENS = "10_virtual_specimens"
FIGURES = "11_figures"
CLAIMS = "12_claims"


@dataclass(frozen=True)
class Job:
    """One run of a stage: its notebook and what it runs on (scan, model or baseline)."""

    stage: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.stage, *self.parts))


class Dependencies:
    """What the jobs of a study depend on."""

    def __init__(self, study: Study):
        self.study = study
        self._fingerprints: dict[Job, str] = {}

    def fingerprint(self, job: Job) -> str:
        """Return a hash of all settings that a job depends on, through other jobs too.

        Examples
        --------
        >>> from kikuhelpers.study import load_study
        >>> one, longer = load_study("smoke"), load_study("smoke", {"training.presentations": 3200})
        >>> of_one, of_longer = Dependencies(one).fingerprint, Dependencies(longer).fingerprint
        >>> indexing, training = Job(INDEXING, ("wrought",)), Job(TRAINING, ("vae-16",))
        >>> of_one(indexing) == of_longer(indexing), of_one(training) == of_longer(training)
        (True, False)
        """
        if job not in self._fingerprints:
            settings, jobs = self.of(job)
            parts = [job.stage, settings, [self.fingerprint(other) for other in jobs]]
            text = json.dumps(parts, sort_keys=True, default=str)
            self._fingerprints[job] = hashlib.sha256(text.encode()).hexdigest()
        return self._fingerprints[job]

    def of(self, job: Job) -> tuple[dict, list[Job]]:
        """Return the settings that a job reads itself, and the jobs whose results it reads."""
        _, name = job.stage.split("_", 1)  # below stands a method for each stage
        settings, jobs = getattr(self, f"_{name}")(*job.parts)
        return plain(settings), jobs

    def needs(self, job: Job) -> list[Job]:
        """Return the jobs that must have run before."""
        latents = [Job(LATENT_MAPS, job.parts)] if job.stage == RECONSTRUCTION else []
        return self.of(job)[1] + latents

    def scans_behind(self, job: Job) -> list[str]:
        """Return the names of the scans whose patterns a job's results come from."""
        if job.stage == DATA:
            return list(job.parts)
        return sorted({name for other in self.of(job)[1] for name in self.scans_behind(other)})

    def _diffraction_data(self, scan: str):
        data, other = self.study.scan(scan).data, self.study.scan(scan).preprocessing.background_of
        return {"data": data} | ({"background_of": FILE} if other == FILE else {}), []

    def _preprocessing(self, scan: str):
        own = self.study.scan(scan).preprocessing
        jobs = [Job(DATA, (scan,))]
        if own.background_of not in (None, FILE):
            jobs.append(Job(PREPROCESSING, (own.background_of,)))
        return {"study": self.study.preprocessing, "scan": own}, jobs

    def _indexing(self, scan: str):
        study = self.study
        settings = {"study": study.indexing_of(scan), "scan": study.scan(scan).indexing}
        return settings | {"seed": study.seed}, [Job(PREPROCESSING, (scan,))]

    def _sample(self):
        """The training sample: how many patterns of which scans, and the seed of the draw."""
        scans = self.study.training_scans
        wanted = {name: self.study.scan(name).training.patterns for name in scans}
        jobs = [Job(PREPROCESSING, (name,)) for name in scans]
        return {"sample": wanted, "seed": self.study.seed}, jobs

    def _training(self, model: str):
        own = self.study.model(model)
        if own.weights:
            return {"model": own, "weights": _of_weights(own)}, []
        settings, jobs = self._sample()
        settings |= {"model": own.model_copy(update={"training": None})}
        training = self.study.training_of(model)
        settings["training"] = plain(training)
        del settings["training"]["checkpoint_seconds"]  # of no effect on what comes out
        if training.grown_from:
            jobs.append(Job(TRAINING, (training.grown_from,)))
        if own.hold_out:
            jobs.append(Job(INDEXING, (own.hold_out.scan,)))
        return settings, jobs

    def _latent_maps(self, model: str, scan: str):
        jobs = [Job(TRAINING, (model,)), Job(PREPROCESSING, (scan,))]
        # Where the study knows no phase, indexing may find none: the maps do not wait for it.
        return {}, jobs + [Job(INDEXING, (scan,))] * bool(self.study.indexing_of(scan).phases)

    def _reconstruction(self, model: str, scan: str):
        # Of the latent maps it reads the latents alone, which know nothing of the indexing.
        jobs = [Job(TRAINING, (model,)), Job(DATA, (scan,)), Job(PREPROCESSING, (scan,))]
        return {"seed": self.study.seed}, jobs

    def _baselines(self, baseline: str):
        study, own = self.study, self.study.baseline(baseline)
        settings, jobs = self._sample()
        settings |= {"baseline": own, "scans": study.decoded_scans}
        scans = {*study.decoded_scans}
        if baseline == study.largest_pca and (scored := roles.scored_scans(study)):
            settings["scored"] = scored
            scans |= {*scored}
        if own.method == "pca":
            # All PCAs of a study use the components that the largest one fits and files.
            settings["fitted"] = study.components_wanted
            largest = study.largest_pca
            jobs += [Job(BASELINES, (largest,))] if baseline != largest else []
        return settings, jobs + [Job(PREPROCESSING, (name,)) for name in sorted(scans)]

    def decoding(self, decoder: str, scan: str) -> Job:
        """Return the job that decodes a scan with a model or a baseline."""
        if decoder in self.study.baselines:
            return Job(BASELINES, (decoder,))
        return Job(RECONSTRUCTION, (decoder, scan))

    def _reindexing(self, decoder: str, scan: str):
        jobs = [self.decoding(decoder, scan), Job(INDEXING, (scan,))]
        study = self.study
        return {"study": study.indexing_of(scan), "scan": study.scan(scan).indexing}, jobs

    def _table1(self):
        study = self.study
        jobs = [job for job in jobs_of(study) if job.stage in (INDEXING, TRAINING)]
        for scan in study.decoded_scans:
            for decoder in study.decoders:
                jobs += [self.decoding(decoder, scan), Job(REINDEXING, (decoder, scan))]
        return {"title": study.title, "seed": study.seed}, jobs

    def _virtual_specimens(self):
        study = self.study
        pair = study.comparison
        compared = (pair.measured, pair.virtual) if pair else ()
        scans = [name for name in study.scans if study.is_virtual(name) or name in compared]
        settings = {"title": study.title, "comparison": study.comparison, "seed": study.seed}
        settings["roles"] = {name: study.scan(name).figures for name in scans}
        jobs = [Job(INDEXING, (name,)) for name in scans]
        if scored := roles.scored_scans(study):
            jobs += [Job(LATENT_MAPS, (m, s)) for m in roles.vaes(study) for s in scored]
            jobs += [Job(BASELINES, (study.largest_pca,))] if study.largest_pca else []
        return settings, jobs

    def _figures(self):
        study = self.study
        maps = [job for job in jobs_of(study) if job.stage in (LATENT_MAPS, RECONSTRUCTION)]
        settings = {"title": study.title, "figures": study.figures}
        settings["roles"] = {name: scan.figures for name, scan in study.scans.items()}
        return settings, [Job(TABLE1), *maps]

    def _claims(self):
        read = (LATENT_MAPS, TABLE1, VIRTUAL_SPECIMENS)
        roles = {name: scan.figures for name, scan in self.study.scans.items()}
        return {"roles": roles}, [job for job in jobs_of(self.study) if job.stage in read]


def _of_weights(model: Model):
    """What tells some weights from others: their training's settings, or the time of their file."""
    if not model.trained_in:
        path = Path(model.weights)
        return path.stat().st_mtime_ns if path.is_file() else None
    from kikuhelpers.study.load import load_study

    study, name = model.trained_in
    return Dependencies(load_study(study)).fingerprint(Job(TRAINING, (name,)))


def jobs_of(study: Study) -> list[Job]:
    """Return all jobs of a study, in the order of the data."""
    scans, models = list(study.scans), list(study.models)
    jobs = [Job(stage, (scan,)) for stage in (DATA, PREPROCESSING, INDEXING) for scan in scans]
    jobs += [Job(TRAINING, (model,)) for model in models]
    jobs += [Job(LATENT_MAPS, (m, s)) for m in models for s in study.mapped_scans]
    jobs += [Job(RECONSTRUCTION, (m, s)) for m in models for s in study.decoded_scans]
    jobs += [Job(BASELINES, (name,)) for name in study.baselines]
    jobs += [Job(REINDEXING, (d, s)) for d in study.decoders for s in study.decoded_scans]
    jobs += [Job(TABLE1)] if models else []
    jobs += [Job(VIRTUAL_SPECIMENS)] if study.virtual_scans else []
    return jobs + ([Job(FIGURES), Job(CLAIMS)] if models else [])


def plain(value):
    """Return settings as JSON takes them; of a scan's file the name alone, the same everywhere.

    A setting that came later is left out where it has the value of before: what was made then
    is still what the settings say.
    """
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if not isinstance(value, Settings):
        return value
    content = {n: plain(v) for n, v in value if value.came_later.get(n, ...) != v}
    for name in ("path", "weights"):
        if content.get(name):
            content[name] = PurePath(content[name]).name
    return content
