"""Networks and images for the tests of the swap."""

import torch
from torch import nn


def alive(model, seed=0):
    """In float64 and evaluation mode, batch norms with drawn statistics as after a training."""
    g = torch.Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5, generator=g)
            part.bias.data.uniform_(-0.3, 0.3, generator=g)
            part.running_mean.uniform_(-0.2, 0.2, generator=g)
            part.running_var.uniform_(0.5, 1.5, generator=g)
    return model.double().eval()


def pair(channels, size, n=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    clean = torch.rand(n, channels, size, size, generator=g, dtype=torch.float64)
    return clean, (clean + 0.1 * torch.randn(clean.shape, generator=g, dtype=torch.float64)).clamp(0, 1)
