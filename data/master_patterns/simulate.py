"""Simulate the master patterns of the phases and of a stretched matrix, once, with de-ebsd.

``python data/master_patterns/simulate.py`` writes ``data/master_patterns/*.npz``.
Bloch waves are those of EMsoft (Callahan and De Graef 2013, 10.1017/S1431927613001840), with the
planes and Bethe thresholds of the Ni master pattern that ships with kikuchipy. The depths of the
electrons differ. That pattern has only electrons of a loss below 0.1 keV, from about 2 nm; its
bands are broader than measured ones. Here depths are exponential, with one decay length for all.

Only the upper hemisphere is stored, since all structures are centrosymmetric: M(-k) = M(k). The
grid is kikuchipy's square Lambert one, rows along y and columns along x of the Cartesian crystal
frame of EMsoft and orix: x along a, z along c.
"""

import argparse
import importlib.metadata
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kikuhelpers.runs.files import written_aside

FOLDER = Path(__file__).parent
GRID = 401  # pixels of a side, as of kikuchipy's Ni

# As the EMsoft file behind kikuchipy's Ni says
ENERGY_KEV = 20.0
DMIN_NM = 0.05  # the finest lattice planes
BETHE = (4.0, 8.0, 50.0, 1.0)  # strong, weak, cutoff, double diffraction

# Decay length of the exit depths: fitted to the IN718 crop by NCC, normalised cross-correlation
# (data/master_patterns/README.md).
DEPTH_NM = 10.0
THICKNESS_NM = 100.0  # of the depth profile; de-ebsd integrates to 99 % of the electrons

# Relative change of the lattice parameter, to both sides; half of it changes the derivative
# by 6 %, its double by 18 %.
LATTICE_STEP = 0.005


@dataclass(frozen=True)
class Structure:
    """A crystal structure; its axes are hexagonal if a and c differ."""

    a_nm: float
    c_nm: float
    space_group: int
    atoms: tuple[tuple[str, tuple[float, float, float], float], ...]  # element, place, B in nm²
    source: str


def _rock_salt(a_nm: float, metal: tuple[str, float], other: tuple[str, float], source: str):
    atoms = ((metal[0], (0, 0, 0), metal[1]), (other[0], (0.5, 0.5, 0.5), other[1]))
    return Structure(a_nm, a_nm, 225, atoms, f"rock salt. {source}")


NICKEL = Structure(
    0.36,
    0.36,
    225,
    (("Ni", (0, 0, 0), 0.0035),),
    "Cell: fitted to the IN718 crop. B: the EMsoft file behind kikuchipy's Ni",
)
STRUCTURES = {
    "Ni": NICKEL,
    "Laves": Structure(
        0.4816,
        0.7868,
        194,
        (
            ("Nb", (1 / 3, 2 / 3, 0.06286), 0.005),
            ("Fe", (0, 0, 0), 0.005),
            ("Fe", (0.83048, 2 * 0.83048, 0.25), 0.005),
        ),
        "Fe2Nb, C14. Positions: MgZn2, AFLOW prototype AB2_hP12_194_f_ah. Cell: assumed, "
        "0.3 % below binary Fe2Nb (0.48295, 0.7877). B: assumed, de-ebsd's default",
    ),
    "NbC": _rock_salt(0.4470, ("Nb", 0.003), ("C", 0.003), "Cell: stoichiometric NbC. B: assumed"),
    "TiN": _rock_salt(
        0.4240,
        ("Ti", 0.00209),
        ("N", 0.00271),
        "Cell: osbornite. B: neutron diffraction of TiN0.95, J. Appl. Cryst. hw0046",
    ),
    "oxide": Structure(
        0.47605,
        1.29956,
        167,
        (("Al", (0, 0, 0.35216), 0.0025), ("O", (0.30668, 0, 0.25), 0.0025)),
        "alpha-Al2O3. Lutterotti and Scardi 1990, J. Appl. Cryst. 23, 246, COD 1000032. B: assumed",
    ),
}
LATTICE = "Ni_lattice"


def simulate_phase(name: str, grid: int = GRID):
    """Return a phase's master pattern, (grid, grid) float64, and how it was made."""
    structure = STRUCTURES[name]
    upper = _simulate(_crystal(structure), DMIN_NM, grid, _ordered_solver())
    metadata = _metadata(name, "intensity: mean 0, standard deviation 1", structure, grid)
    return (upper - upper.mean()) / upper.std(), metadata


def simulate_lattice_derivative(grid: int = GRID, step: float = LATTICE_STEP):
    """Return dM / d(ln a) of Ni, in standard deviations of M, its mean removed.

    Depths, reflections and each direction's choice of strong and weak ones are the same on both
    sides, so that only geometry and structure factors differ. (grid, grid) float64, and metadata.
    """
    matrix = _simulate(_crystal(NICKEL), DMIN_NM, grid, unstretched := _ordered_solver())
    wide, narrow = (
        _simulate(_crystal(NICKEL, f), DMIN_NM * f, grid, _ordered_solver(unstretched))
        for f in (1 + step, 1 - step)
    )
    derivative = (wide - narrow) / (2 * step * matrix.std())
    quantity = "dM / d(ln a) in standard deviations of M, mean removed"
    metadata = _metadata(LATTICE, quantity, NICKEL, grid) | {"step": step}
    return derivative - derivative.mean(), metadata


def main(arguments: list[str] | None = None) -> None:
    """Simulate the master patterns and store them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*STRUCTURES, LATTICE]
    parser.add_argument("names", nargs="*", default=names, metavar="name", help=", ".join(names))
    parser.add_argument("--grid", type=int, default=GRID, help="pixels of a side, odd")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(names):
        parser.error(f"no structure for {', '.join(sorted(unknown))}: choose from {names}")
    for name in chosen.names:
        start = time.perf_counter()
        lattice, grid = name == LATTICE, chosen.grid
        made = simulate_lattice_derivative(grid) if lattice else simulate_phase(name, grid)
        save(chosen.folder / f"{name}.npz", *made)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def save(path: Path, upper: np.ndarray, metadata: dict[str, Any]) -> None:
    """Store a pattern as float16 under ``upper``, and ``metadata`` as a JSON string."""
    with written_aside(path) as temporary:
        text = json.dumps(metadata)
        np.savez_compressed(temporary, upper=upper.astype(np.float16), metadata=text)


def _simulate(crystal, dmin_nm: float, grid: int, solver) -> np.ndarray:
    de_ebsd = _de_ebsd()
    depths = de_ebsd.DepthDistribution.single_energy(
        ENERGY_KEV, thickness=THICKNESS_NM, decay_length=DEPTH_NM
    )
    simulator = de_ebsd.MasterPatternSimulator(
        crystal,
        de_ebsd.Microscope(energy=ENERGY_KEV * 1e3),
        npx=grid // 2,
        dmin=dmin_nm * (1 - 1e-9),  # planes of just this spacing stay in, whatever the rounding
        bethe=de_ebsd.BetheParameters(*BETHE),
        monte_carlo=depths,
        backend=solver,
    )
    return simulator.compute(device="cpu", dtype=torch.float64).data[0, 0].numpy()


def _ordered_solver(unstretched=None):
    """Return a solver whose reflections stand in order of their Miller indices.

    de-ebsd's own order, by length, changes with rounding. The solver of the unstretched crystal,
    if given, chooses strong and weak reflections: a choice that changes with a makes jumps.
    """
    from de_ebsd.diffraction.prism import BlochPrismBackend
    from de_ebsd.diffraction.reflections import excitation_errors

    class OrderedSolver(BlochPrismBackend):
        def prepare(self, inputs):
            super().prepare(inputs)
            order = torch.as_tensor(np.lexsort(self.hkl_aug[1:].numpy().T))
            after_direct_beam = torch.cat([torch.zeros(1, dtype=order.dtype), order + 1])
            self.g_cart = self.g_cart[order]
            for name in ("hkl_aug", "u_mod", "forbidden"):
                setattr(self, name, getattr(self, name)[after_direct_beam])

        def _classify(self, k):
            if unstretched is None:
                return super()._classify(k)
            strong, weak, _ = unstretched._classify(k)
            errors = excitation_errors(self.g_cart, k, self.lam)
            return strong, weak, torch.nn.functional.pad(errors, (1, 0))

    return OrderedSolver()


def _crystal(structure: Structure, factor: float = 1.0):
    """Return the de-ebsd crystal, its axes longer by ``factor``."""
    de_ebsd = _de_ebsd()

    class HexagonalAxes(de_ebsd.Crystal):
        centering = "R"  # de-ebsd 0.2.1 stops at the H of diffpy's "H -3 c"

    kind = HexagonalAxes if structure.space_group == 167 else de_ebsd.Crystal
    return kind.from_parameters(
        a=structure.a_nm * factor,
        c=structure.c_nm * factor,
        gamma=90.0 if structure.a_nm == structure.c_nm else 120.0,
        space_group=structure.space_group,
        atoms=[de_ebsd.AtomSite(e, position, debye_waller=b) for e, position, b in structure.atoms],
    )


def _metadata(name: str, quantity: str, structure: Structure, grid: int) -> dict[str, Any]:
    return {
        "name": name,
        "quantity": quantity,
        "energy_kev": ENERGY_KEV,
        "depth_profile": "exponential",
        "depth_nm": DEPTH_NM,
        "thickness_nm": THICKNESS_NM,
        "grid": grid,
        "projection": "square Lambert, upper hemisphere, rows along y, columns along x",
        "frame": "x along a, z along c",
        "structure": asdict(structure),
        "dmin_nm": DMIN_NM,
        "bethe": BETHE,
        "de_ebsd": importlib.metadata.version("de-ebsd"),
    }


def _de_ebsd():
    try:
        import de_ebsd
    except ImportError as error:
        raise SystemExit(
            "Simulating master patterns needs de-ebsd: pip install 'kikuhelpers[simulation]'."
        ) from error
    return de_ebsd


if __name__ == "__main__":
    main()
