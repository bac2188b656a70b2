"""``python -m kikuhelpers.runs.kept keep in718_rx``: results into small files, and back.

``keep`` packs what the table and the figures of a study are made from into ``data/kept/``;
``restore`` writes what is missing of it in the results folder. Tables and figures are then
made with ``python -m kikuhelpers in718_rx --figures``, which restores by itself.
"""

import argparse
import sys

from kikuhelpers.runs.kept.store import keep, restore
from kikuhelpers.study.study import StudyError, load_study


def main(arguments: list[str] | None = None) -> int:
    """Keep or restore the study named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m kikuhelpers.runs.kept", description=__doc__)
    parser.add_argument("what", choices=("keep", "restore"))
    parser.add_argument("study", help="name or path of a study file")
    arguments = parser.parse_args(arguments)
    try:
        study = load_study(arguments.study)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    (keep if arguments.what == "keep" else restore)(study)
    return 0


if __name__ == "__main__":
    sys.exit(main())
