"""Does the loss still fall at the end of a training? Its slope, with an interval."""

import numpy as np
import pandas as pd
from scipy.stats import linregress, t

STILL_FALLING_PCT = 1.0  # of the loss, per quarter of a training: more calls it too short
_JUDGED = 0.5  # of the lines; a decaying rate flattens the last quarter of any training
_FEWEST_LINES = 5  # fewer judged lines do not tell a slope from noise
_LONGEST_MEMORY = 0.95  # correlation of lines that is told from a trend
_LEVEL = 0.95  # of the interval
_NAMES = ("loss_fall_pct", "loss_fall_pct_low", "loss_fall_pct_high", "flat_at_schedule_end")


def still_falling(history: pd.DataFrame) -> dict[str, float | bool]:
    """Return by how many per cent the loss falls per quarter of a training, in its second half.

    The slope of the loss's logarithm is that of least squares; lines remember the one before, and
    its 95 % interval allows for that (Santer et al., J. Geophys. Res. 105 (2000) 7337,
    doi:10.1029/1999JD901105). The loss is flat if the whole interval lies below 1 %. Where the
    learning rate decays to nothing, flat is not converged: the schedule may have ended the fall.
    """
    n = round(_JUDGED * len(history))
    if n < _FEWEST_LINES:
        return dict.fromkeys(_NAMES, np.nan)
    x = 4 / len(history) * np.arange(n)  # quarters of the training
    y = np.log(history["loss"].to_numpy()[-n:])
    line = linregress(x, y)
    left = y - line.intercept - line.slope * x
    memory = (n * (left[1:] @ left[:-1]) / (left @ left) + 1) / (n - 4)  # bias corrected
    memory = np.clip(memory, 0, _LONGEST_MEMORY)
    spread = (1 + memory) / (1 - memory)  # so many lines tell as much as one without memory
    reach = t.ppf((1 + _LEVEL) / 2, max(n / spread - 2, 2)) * line.stderr * np.sqrt(spread)
    falls = -100 * np.expm1(line.slope + np.array([0, reach, -reach]))
    return dict(zip(_NAMES, (*falls.tolist(), bool(falls[2] < STILL_FALLING_PCT)), strict=True))
