"""Write the table of bad inputs and the sentence that each ends in, ``docs/bad_inputs.csv``.

Run as ``python -m docs.bad_inputs``. The cases are those of ``tests/bad_inputs.py``, and
``tests/test_bad_inputs.py`` holds that each still ends so.
"""

from pathlib import Path

import pandas as pd

from kikuhelpers.runs.files import save_csv
from tests.bad_inputs import CASES, Case, sentence_of

TABLE = Path(__file__).with_suffix(".csv")
SHOWN = 60  # characters of a case's name


def shown(case: Case) -> list[str]:
    """Return the group and the name of a case; what no terminal shows is escaped."""
    return [case.group, case.name.encode("unicode_escape").decode()[:SHOWN]]


if __name__ == "__main__":
    rows = [(*shown(case), sentence_of(case)) for case in CASES]
    save_csv(pd.DataFrame(rows, columns=["group", "case", "sentence"]), TABLE)
