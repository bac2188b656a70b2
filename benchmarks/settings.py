"""Sizes of the measurements: those of ``make bench``, and tiny ones to try it out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    dimensions: tuple[int, ...] = (16, 32, 64, 128)
    batch: int = 64  # patterns per step; the paper's 256 takes ten seconds a step on two cores
    rounds: int = 3
    seconds: float = 3.0  # shortest turn
    matrix_sizes: tuple[int, ...] = (512, 1024, 2048, 4096)
    scan_patterns: int = 600  # of 480 x 480 px, binned by 4
    binned_scan_patterns: int = 4800  # of 120 x 120 px
    simulated_patterns: int = 6000
    map_patterns: int = 1024  # to encode, decode and index
    growth_dimension: int = 16
    growth: tuple[int, ...] = (1, 2, 4, 8)
    growth_patterns: int = 256  # the work that grows by these factors
    growth_stages: tuple[str, ...] = (
        *("simulation", "preprocessing", "encoding", "decoding", "indexing"),
        *("sharpness", "noise level"),
    )


QUICK = Sizes(
    dimensions=(16,),
    batch=4,
    rounds=1,
    seconds=0.0,
    matrix_sizes=(64,),
    scan_patterns=4,
    binned_scan_patterns=4,
    simulated_patterns=8,
    map_patterns=8,
    growth=(1, 2),
    growth_patterns=8,
    growth_stages=("preprocessing", "encoding", "noise level"),
)
