"""A model that was trained elsewhere: its weights, and what is known of its training."""

from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save_file

from kikuhelpers.runs.errors import usable
from kikuhelpers.runs.files import save_json, written_aside
from kikuhelpers.runs.results import Results
from kikuhelpers.study import StudyError, load_study
from kikuhelpers.study.stages import TRAINING, Job
from kikuhelpers.training.vae import KikuchiVAE

# A line of a history of which nothing is known.
_UNKNOWN = dict.fromkeys(("step", "epoch", "loss", "reconstruction", "kl", "contrastive"))
_UNKNOWN |= dict.fromkeys(("active_units", "gradient_norm", "learning_rate", "best", "worst"))
_UNKNOWN |= {"presentations": 0, "seconds": 0.0}


def adopt(results: Results, name: str) -> pd.DataFrame:
    """Take over the weights that a model's settings name, as if it had been trained here.

    Returns
    -------
    pandas.DataFrame
        The loss history of its training; one line without numbers, if only the weights are known.

    Raises
    ------
    StudyError
        There are no such weights, or they are of another network.
    MissingResultError
        The study that they are of has neither results nor an archive of them.
    """
    model, files = results.study.model(name), results.layout.model(name)
    source = model.weights
    if not model.trained_in:
        if not Path(source).is_file():
            raise StudyError(f"There are no weights {source} of model '{name}': check their path.")
        with usable(source, "copy it again"):
            weights = load_file(source)
        history = pd.DataFrame([_UNKNOWN])
        card = {"presentations": 0, "last": _UNKNOWN, "seconds": 0.0}
    else:
        study, theirs = model.trained_in
        there = Results(load_study(study), archive=True).model(theirs)
        weights, history, card = there.weights, there.history, dict(there.card)
    own = KikuchiVAE(model.latent_dim).state_dict()
    if {key: w.shape for key, w in weights.items()} != {key: w.shape for key, w in own.items()}:
        which = f"a network of {model.latent_dim} latent dimensions"
        raise StudyError(f"The weights {source} are not of {which}: correct latent_dim.")
    card |= {"model": name, "weights": source, "settings": model.model_dump()}
    save_json(files.card, card)
    with written_aside(files.history) as temporary:
        history.to_csv(temporary, index=False)
    fingerprint = results.layout.dependencies.fingerprint(Job(TRAINING, (name,)))
    with written_aside(files.weights) as temporary:
        save_file(weights, temporary, metadata={"fingerprint": fingerprint})
    return history
