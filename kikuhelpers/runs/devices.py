"""Where tensors are computed, and in which precision."""

import ctypes
import platform

import torch

# Settings of glibc's mallopt(3): the first means no limit, the second no separate maps.
_TRIM_THRESHOLD, _MMAP_MAX = (-1, 2**31 - 1), (-4, 0)


def device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def computed_precision(precision: str) -> str:
    """Return "bfloat16" or "float32"; "auto" is bfloat16 where the device at hand is fast in it."""
    if precision != "auto":
        return precision
    fast = {"cuda": torch.cuda.is_bf16_supported, "cpu": torch.cpu._is_avx512_bf16_supported}
    return "bfloat16" if fast.get(device().type, bool)() else "float32"


def arithmetic(precision: str) -> torch.autocast:
    """Return the autocast context of a precision, see :func:`computed_precision`."""
    enabled = computed_precision(precision) == "bfloat16"
    return torch.autocast(device().type, torch.bfloat16, enabled=enabled)


def free_memory_bytes() -> int:
    """Return the memory that is free on the device at hand."""
    import psutil  # not on every machine that is lent for its GPU

    on_gpu = device().type == "cuda"
    return torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available


def keep_freed_memory() -> None:
    """Let this process keep freed memory for its next request (glibc only).

    Memory that came from the system again for each step slowed a 64-D training by 4 to 14 %.
    """
    if platform.libc_ver()[0] == "glibc":
        for setting in (_TRIM_THRESHOLD, _MMAP_MAX):
            ctypes.CDLL(None).mallopt(*setting)
