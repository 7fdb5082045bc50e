"""The global generators: set for a while, and put back. Randomness that is an argument needs none of this."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from causalnb import UserError


def whole_seed(seed: Any) -> int:
    """A seed as Python's number, also from numpy; refused where a generator would not take it.

    >>> whole_seed(np.int64(3))
    3
    """
    with suppress(TypeError, ValueError, OverflowError, RuntimeError):
        value = seed.item() if hasattr(seed, "item") else seed
        if 0 <= value < 2**63 and int(value) == value:
            return int(value)
    raise UserError(f"seed = {seed!r:.80} is not possible: give a whole number from 0 below 2^63.")


@contextmanager
def generators_at(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's (with the CUDA device), numpy's and Python's generators at `seed`; afterwards where they
    stood.
    """
    seed, numpy_state, python_state = whole_seed(seed), np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
