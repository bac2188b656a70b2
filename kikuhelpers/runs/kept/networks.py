"""Kept weights in place of a training."""

from pathlib import Path

import pandas as pd

from kikuhelpers.runs.files import load_json, save_json
from kikuhelpers.runs.kept.agreement import same_settings
from kikuhelpers.runs.kept.contents import Item, contents, has_kept_weights
from kikuhelpers.runs.kept.runs import load_runs
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Study


def kept_weights(study: Study, model: str) -> Path | None:
    """Return the kept weights of a model, if they were trained with exactly these settings.

    Compared are the model's settings, those of its training, and those of the scans and the
    preprocessing that its sample came from. Where they differ, a printed line says so.
    """
    if not has_kept_weights(study, model):
        return None
    items = _items(study, model)
    if not all(item.kept.is_file() for item in items):
        return None
    record = load_runs(Layout(study)).get(f"03_training.{model}")
    if not same_settings(study, record, model, scan=None, indexed=items[-1].indexed):
        print(f"Not taken: the weights kept in {items[-1].kept.parent} are of other settings.")
        return None
    return items[-1].kept


def take_kept_network(study: Study, model: str) -> pd.DataFrame:
    """Write a model's files from the kept ones; one printed line says where they are from.

    Parameters
    ----------
    study, model
        For which :func:`kept_weights` found some.

    Returns
    -------
    pandas.DataFrame
        The history of their training, as :func:`kikuhelpers.training.loop.train` returns it.
    """
    layout, items = Layout(study), _items(study, model)
    for item in items:
        item.packing.unpack(item.kept, item.result)
    files = layout.model(model)
    commit = load_runs(layout)[f"03_training.{model}"]["commit"]
    card = {"trained_at_commit": commit} | load_json(files.card)  # the first commit stays
    save_json(files.card, card)
    print(
        f"Taken, not trained: the weights kept in {items[-1].kept.parent}, of the same settings, "
        f"trained at commit {card['trained_at_commit']} in {card['seconds']:.0f} s. To train "
        "anew, set use_kept = False."
    )
    return pd.read_csv(files.history)


def _items(study: Study, model: str) -> list[Item]:
    """What training leaves, the weights last."""
    return [item for item in contents(study) if item.run == ("03_training", model)]
