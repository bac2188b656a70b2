"""Keep a study's results in small files, and restore them where they are missing."""

import os

from kikuhelpers.runs.files import save_json
from kikuhelpers.runs.kept.agreement import same_settings
from kikuhelpers.runs.kept.contents import Item, contents
from kikuhelpers.runs.kept.runs import keep_runs, load_runs
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Study

# Date of every restored file, seconds since 1970: 1 January 2000, older than any file that a
# run makes. So Snakemake makes it anew as soon as what it comes from is there, and never takes
# a restored latent map for that of a network trained since.
RESTORED = 946_684_800


def keep(study: Study) -> None:
    """Keep every result that is there; print one line for each, and for each that is not.

    Of a model that is still in training nothing is kept.
    """
    layout, size, lacking = Layout(study), 0, 0
    items = contents(study)
    for item in items:
        if not item.result.is_file() or not _is_trained(study, item.model):
            lacking += 1
            print(f"lacks     {item.name}: run notebook {item.run[0]}")
            continue
        if is_restored(item):
            print(f"as it is  {item.name}: it was restored from here")
        else:
            item.packing.pack(item.result, item.kept)
            print(f"kept      {item.name} ({item.kept.stat().st_size / 1000:,.0f} kB)")
        size += item.kept.stat().st_size
    print(f"kept      the records of {keep_runs(layout)} runs")
    print(
        f"{len(items) - lacking} results, {size / 1e6:.1f} MB in {layout.kept}; {lacking} lacking"
    )


def restore(study: Study) -> None:
    """Write every kept result that is missing; print one line for each, and what is lacking.

    A result that is there is left alone. One that was kept with other settings than the
    study's present ones counts as lacking.
    """
    layout = Layout(study)
    records = load_runs(layout)
    if not records:
        print(f"Nothing of study '{study.name}' is kept in {layout.kept}.")
        return
    for item in contents(study):
        if item.result.is_file():
            continue
        record = records.get(".".join(item.run))
        if not item.kept.is_file():
            print(f"lacks     {item.name}: it is neither there nor kept")
        elif not same_settings(study, record, item.model, item.scan, item.indexed):
            print(f"lacks     {item.name}: it was kept with other settings")
        else:
            _restore(item, record)
            print(f"restored  {item.name}")


def is_restored(item: Item) -> bool:
    """Tell whether a result was restored and not made here."""
    return item.kept.is_file() and item.result.stat().st_mtime == RESTORED


def _is_trained(study: Study, model: str | None) -> bool:
    """Tell whether a model's training has ended: the card comes then, the history before."""
    return model not in study.models or Layout(study).model(model).card.is_file()


def _restore(item: Item, record: dict) -> None:
    item.packing.unpack(item.kept, item.result)
    own = item.layout.record(*item.run)
    if not own.is_file():
        save_json(own, record)
        os.utime(own, (RESTORED, RESTORED))
    os.utime(item.result, (RESTORED, RESTORED))
