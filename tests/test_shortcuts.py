"""docs/shortcuts.py, where the answer is known."""

import numpy as np
import pytest
import torch

from docs import shortcuts
from kikuhelpers.training.vae import ShortcutConv

LOSSES = np.linspace(100, 1, 100)


def test_half_the_presentations_are_twice_the_speed_and_upside_down():
    fast = np.concatenate([LOSSES[1::2], np.full(50, 0.5)])
    assert shortcuts.speed_up(fast, LOSSES) == 2
    slow = np.linspace(100, 50.5, 100)  # half as fast
    assert shortcuts.speed_up(slow, LOSSES) == pytest.approx(0.5, abs=0.02)
    assert shortcuts.speed_up(LOSSES, LOSSES, window=7) == 1


def test_the_interval_is_students_t():
    value, low, high = shortcuts.with_interval([1.0, 2.0, 4.0])
    assert value == pytest.approx(2) and low == pytest.approx(2 / (high / 2))
    assert np.log(high / 2) == pytest.approx(4.303 * np.log(2) / np.sqrt(3), rel=1e-3)


def test_kinds_of_shortcut_differ_by_what_they_say():
    torch.manual_seed(0)
    layer, x = ShortcutConv(4), torch.randn(1, 4, 12, 12)
    plain, after, before = (shortcuts._FORWARD[kind](layer, x) for kind in shortcuts._FORWARD)
    assert torch.allclose(after - plain, x, atol=1e-6)
    hidden = layer.conv(x) + x
    assert torch.allclose(before, torch.where(hidden > 0, hidden, 0.2 * hidden))
