"""The operations of a training step, as the benchmark counts them."""

import pytest

from benchmarks.arithmetic import training_operations


def layer_multiply_adds(latent_dim: int) -> int:
    """Multiply-adds of one pattern, layer by layer from Table 2."""
    total, inputs = 0, 1
    for channels, pixels in ((latent_dim // 4, 56), (latent_dim // 2, 24), (latent_dim, 8)):
        total += 81 * channels * pixels**2 * (inputs + channels)
        inputs = channels
    total += 64 * latent_dim * 2 * latent_dim + (2 * latent_dim) ** 2 + 16 * latent_dim**2
    pixels_before, inputs = 4, latent_dim
    for shrink, pixels in ((1, 11), (2, 27), (4, 61), (8, 120)):
        channels = latent_dim // shrink
        total += 81 * channels * (inputs * pixels_before**2 + channels * pixels**2)
        pixels_before, inputs = pixels, channels
    return total + inputs * 120**2


@pytest.mark.parametrize("latent_dim", [16, 64, 256])
def test_operations_are_those_of_table_2(latent_dim):
    counted = training_operations(latent_dim, "vae")
    assert counted == 3 * 2 * layer_multiply_adds(latent_dim)
    assert training_operations(latent_dim, "contrastive") == 2 * counted
