"""Encoding, decoding and the measures of latent maps."""

import ast
from types import SimpleNamespace

import hyperspy.api as hs
import kikuchipy
import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from kikuhelpers.latents.coding import decode, decode_map, decoder_of, encode, generate
from kikuhelpers.latents.features import (
    feature_measures,
    grain_feature,
    likeness,
    morans_i,
    rank_correlation,
    variance_between,
)
from kikuhelpers.patterns import streaming
from kikuhelpers.patterns.up2 import open_patterns, to_counts, to_intensity
from kikuhelpers.preprocessing.preprocess import OUTSIDE
from kikuhelpers.study import PROJECT_ROOT
from kikuhelpers.training.vae import KikuchiVAE
from tests.conftest import model_scan_files, screen, write_scan


@pytest.fixture
def network():
    torch.manual_seed(0)
    return KikuchiVAE(16).eval()


@pytest.fixture
def counts():
    return to_counts(np.random.default_rng(0).uniform(-1, 1, (3, 4, 120, 120)))


def test_latents_are_the_mean_of_each_point(network, counts):
    latents = encode(network, counts, "float32")
    alone = network.encode(torch.from_numpy(to_intensity(counts[2, 1]))[None, None])[0]
    np.testing.assert_allclose(latents[2, 1], alone.detach().numpy()[0], atol=1e-5)


def test_latents_of_a_file_go_to_a_file_or_nowhere(tmp_path, network, counts, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 5 * counts[0, 0].nbytes)
    write_scan(tmp_path / "scan.up2", counts)
    patterns, path = open_patterns(tmp_path / "scan.up2"), tmp_path / "latents.npy"
    streamed = encode(network, patterns, "float32", path)
    assert isinstance(streamed, np.memmap) and streamed.shape == (3, 4, 16)
    np.testing.assert_array_equal(np.load(path), encode(network, counts, "float32"))
    path.unlink()
    with pytest.raises(ValueError, match="takes patterns of 1 x 120 x 120"):
        encode(network, patterns[..., :60], "float32", path)
    assert [file.name for file in tmp_path.iterdir()] == ["scan.up2"]


def run_option(notebook, option, names):
    """Run what a notebook does where an option of its first cell is set."""
    cells = nbformat.read(PROJECT_ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    [chosen] = [
        node
        for node in ast.parse(code).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == option
    ]
    exec(ast.unparse(chosen), names | {option: True})


def test_hyperspy_opens_the_latents(tmp_path):
    latents = np.random.default_rng(0).normal(size=(3, 5, 16)).astype(np.float32)
    files = model_scan_files(tmp_path)
    names = {"hs": hs, "latents": latents, "files": files, "step_um": 0.5}
    run_option("05_latent_maps", "save_for_hyperspy", names)
    signal = hs.load(tmp_path / "latents.hspy")
    np.testing.assert_array_equal(signal.data, latents)
    x, y = signal.axes_manager.navigation_axes
    assert (x.name, x.size, x.scale, x.units) == ("x", 5, 0.5, "um")
    assert (y.name, y.size) == ("y", 3)


def test_decoded_maps_and_their_loss(tmp_path, network, counts):
    files, mask = model_scan_files(tmp_path), screen()
    latents = encode(network, counts, "float32")
    decoder = decoder_of(network, mask, "float32")
    losses = decode_map(decoder, latents, counts, mask, files, 1.0)
    decoded = to_intensity(open_patterns(files.decoded))
    difference = (decoded - to_intensity(counts))[..., mask]
    np.testing.assert_allclose(losses, 0.5 * (difference**2).sum(-1), rtol=1e-3)
    assert (decoded[..., ~mask] == OUTSIDE).all()
    one_by_one = decode(network, latents[2, 1:2], mask, "float32")
    np.testing.assert_allclose(decoded[2, 1], one_by_one[0], atol=1e-4)
    run_option("06_reconstruction", "save_for_kikuchipy", {"kp": kikuchipy, "files": files})
    exported = kikuchipy.load(files.decoded.with_suffix(".h5"))
    np.testing.assert_array_equal(exported.data, open_patterns(files.decoded))


def test_generated_patterns_depend_on_the_seed_only(network):
    first, again = (generate(network, 2, screen(), 3, "float32") for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 120, 120)


def test_morans_i_tells_structure_from_noise():
    rng = np.random.default_rng(0)
    noise, ramp = rng.normal(size=(40, 50)), np.add.outer(np.arange(40.0), np.arange(50.0))
    board = np.indices((40, 50)).sum(axis=0) % 2.0
    values = morans_i(np.stack([noise, ramp, board, np.ones((40, 50))], axis=-1))
    assert abs(values[0]) < 0.05
    assert values[1] > 0.9
    assert values[2] == pytest.approx(-1)
    assert values[3] == 0


@given(st.integers(0, 999))
def test_rank_correlation_is_spearmans(seed):
    rng = np.random.default_rng(seed)
    features, values = rng.normal(size=(30, 2)), rng.integers(0, 9, 30).astype(float)
    known = values > 1
    ours = rank_correlation(features, np.where(known, values, np.nan))
    theirs = [abs(spearmanr(features[known, i], values[known]).statistic) for i in range(2)]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_variance_between_grains():
    labels = np.array([0, 0, 1, 1, -1])
    features = np.array([[1.0, 0], [1, 1], [3, 0], [3, 1], [99, 99]])
    np.testing.assert_allclose(variance_between(features, labels), [1, 0])


def test_likeness_tells_one_feature_from_many():
    rng = np.random.default_rng(0)
    one, many = rng.standard_normal((20, 30, 1)), rng.standard_normal((20, 30, 12))
    assert likeness(one * np.linspace(1, 2, 12)) == pytest.approx(1)
    assert likeness(many) < 0.1
    assert likeness(1e-3 * many) == 0  # none is active


def test_measures_find_the_feature_that_shows_a_map():
    rng = np.random.default_rng(0)
    grains = np.repeat(np.arange(4), 25).reshape(10, 10)
    latents = rng.normal(size=(10, 10, 5))
    latents[..., 2] = grains + 0.01 * rng.normal(size=(10, 10))
    latents[..., 4] = 1e-3 * rng.normal(size=(10, 10))
    table = feature_measures(latents, {"grod": latents[..., 1] ** 3}, grains)
    assert table["moran_i"].idxmax() == table["rho_orientation"].idxmax() == 2
    assert table["feature"].tolist() == [*range(len(table))]
    assert table.loc[1, "rho_grod"] == pytest.approx(1)
    assert not table.loc[4, "active"]
    # Measured before any orientation was known, the same feature shows the grains.
    blind = feature_measures(latents, {}, np.full((10, 10), -1))
    assert blind["rho_orientation"].isna().all()
    for measures in (table, blind):
        known = {"features": measures, "latents": latents}
        view = SimpleNamespace(**{n: lambda _, v=v: v for n, v in known.items()})
        view.grains = lambda: grains
        chosen = grain_feature(view, "vae-16")
        assert chosen.index == 2
        assert chosen.value == pytest.approx(
            table.loc[2, "rho_orientation"] * table.loc[2, "moran_i"]
        )
