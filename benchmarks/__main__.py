"""Measure this machine: ``python -m benchmarks``, some minutes on two cores."""

import argparse
import sys
import time
from dataclasses import replace

from benchmarks import growth, networks, profile, report, scans, simulation, study_time
from benchmarks.settings import QUICK, Sizes
from kikuhelpers.study import LATENT_DIMENSIONS
from kikuhelpers.study.load import root_of

PARTS = {
    "multiply": networks.matrix_multiply,
    "training": networks.training,
    "profile": profile.training_profile,
    "coding": networks.encoding_and_decoding,
    "simulation": simulation.simulation,
    "preprocessing": scans.preprocessing,
    "indexing": scans.indexing,
    "growth": growth.growth,
    "study": study_time.study_time,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that are asked for; write and print what they found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--dimensions", nargs="+", type=int, choices=LATENT_DIMENSIONS, help="default: 16 to 128"
    )
    parser.add_argument("--batch", type=int, help="patterns per training step (default: 64)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    asked = parser.parse_args(arguments)
    sizes = QUICK if asked.quick else Sizes()
    if asked.dimensions:
        sizes = replace(sizes, dimensions=tuple(asked.dimensions))
    if asked.batch:
        sizes = replace(sizes, batch=asked.batch)
    before, rows = report.machine(), []
    path = root_of("results") / "bench" / time.strftime("bench-%Y%m%d-%H%M%S.json")
    markdown = ""
    for name in asked.parts:
        print(f"Measuring: {name}", file=sys.stderr, flush=True)
        for row in PARTS[name](sizes):
            rows.append(row)
            markdown = report.write(rows, before, path)  # a run cut short keeps what it has
    print(markdown)
    print(f"All numbers: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
