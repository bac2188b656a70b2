"""Muon and Adam as one optimiser: closed forms, torch's own Adam, and a state that is whole."""

import copy

import pytest
import torch

from kikuhelpers.study.models import Training
from kikuhelpers.training.block_convolution import on_device
from kikuhelpers.training.optimiser import Optimiser, _rows
from kikuhelpers.training.vae import KikuchiVAE

RATE = 0.01


def a_step(name: str, steps: int = 1):
    """A network, and the same one after steps along gradients that are drawn at random."""
    torch.manual_seed(0)
    network = on_device(KikuchiVAE(16)).cpu()
    before = copy.deepcopy(network.state_dict())
    optimiser = Optimiser(network.parameters(), Training(epochs=1, optimiser=name))
    for _ in range(steps):
        for weight in network.parameters():
            weight.grad = torch.randn_like(weight)
        gradients = [weight.grad for weight in network.parameters()]
        optimiser.step(RATE)
    return network, before, gradients, optimiser


def test_muon_steps_as_far_in_every_direction():
    network, before, *_ = a_step("muon")
    for name, weight in network.named_parameters():
        if weight.ndim == 1:
            continue
        moved = _rows(before[name]) - _rows(weight.detach())
        length = RATE * 0.2 * max(moved.shape) ** 0.5  # as long as a step of Adam
        directions = torch.linalg.svdvals(moved) / length
        assert directions.min() > 0.5 and directions.max() < 1.3, name


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_what_muon_leaves_takes_torchs_own_adam(name):
    network, before, gradients, _ = a_step(name)
    for (label, weight), gradient in zip(network.named_parameters(), gradients, strict=True):
        if name == "muon" and weight.ndim > 1:
            continue
        ours, other = weight.detach(), torch.nn.Parameter(before[label].clone())
        other.grad = gradient
        torch.optim.Adam([other], RATE).step()
        torch.testing.assert_close(ours, other.detach())


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_a_state_goes_on_as_if_nothing_had_been(name):
    network, _, gradients, optimiser = a_step(name, steps=3)
    twin = copy.deepcopy(network)
    other = Optimiser(twin.parameters(), Training(epochs=1, optimiser=name))
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for model, optimiser_of in ((network, optimiser), (twin, other)):
        for weight, gradient in zip(model.parameters(), gradients, strict=True):
            weight.grad = gradient.clone()
        optimiser_of.step(RATE)
    for one, same in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, same)


def test_kernels_of_another_memory_format_are_refused():
    with pytest.raises(ValueError, match="channels_last"):
        Optimiser(KikuchiVAE(16).parameters(), Training(epochs=1, optimiser="muon"))


def test_gradients_are_forgotten():
    network, *_ = a_step("muon")
    assert all(weight.grad is None for weight in network.parameters())
