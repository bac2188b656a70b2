"""The parts of ``make scale``: sparse files, work on maps, and what the page says of a bound."""

import numpy as np
import pandas as pd
import pytest

from docs import scale, scale_maps
from kikuhelpers.scans.readers import open_scan

SIZES = {"paper's full size": 414_720_000_042, "deposit's size": 25_974_748_816}


@pytest.mark.parametrize(("file", "rows"), [("paper's full size", 0), ("deposit's size", 1)])
def test_a_sparse_file_has_its_full_size_and_holds_the_window(tmp_path, file, rows):
    _, (_, columns), pixels, settings = scale.FILES[file]
    path, given = tmp_path / "sparse.up2", np.zeros((rows, columns, pixels, pixels), np.uint16)
    given[..., 1, 2] = np.arange(columns)
    first = scale.write_sparse(path, file, given)
    assert path.stat().st_size == SIZES[file]
    assert path.stat().st_blocks * 512 < 1.1 * given.nbytes + 1e6
    found = open_scan(path, rows=(first - 1, first + 2), **settings)
    assert found[1 : 1 + rows, :, 1, 2].tolist() == given[..., 1, 2].tolist()
    assert not found[[0, 2], 5].any()


def test_work_on_a_map_is_measured(tmp_path):
    found = scale_maps.alone(scale_maps.made_up, "grains", 20, 30, str(tmp_path))
    assert found["cpu_seconds"] >= 0
    assert found["end"] > found["start"]
    assert found["peak_mib"] > 50


def test_the_page_says_which_bound_is_broken():
    given = {  # peaks in MiB of 1,000 and 16,000 points
        "03_indexing": (100, 109),
        "05_latent_maps.vae-16": (100, 111),
        "09_table1": (100, 107),
        "11_figures": (100, 108),
    }
    rows = [
        {"part": "study", "case": case, "points": points, "peak_mib": peak, "cpu_seconds": 1.0}
        | {"anonymous_mib": peak - 10, "commit": "abc"}
        for case, peaks in given.items()
        for points, peak in zip((1000, 16000), peaks, strict=True)
    ]
    said = scale.page(pd.DataFrame(rows))
    for case, met in zip(given, ("yes", "no", "yes", "no"), strict=True):
        (line,) = (line for line in said.splitlines() if case in line)
        assert line.split("|")[-2].strip() == met
