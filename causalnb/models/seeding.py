"""First weights from a seed, the global generators left as they are."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from causalnb.randomness import whole_seed

Network = TypeVar("Network", bound=nn.Module)


def drawn(seed: int, build: Callable[[], Network]) -> Network:
    """The network that `build` makes when torch's generator stands at `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(whole_seed(seed))  # torch.manual_seed would seed the GPUs too
        return build()
