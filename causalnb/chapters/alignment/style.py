"""The style map (Zhang et al. 2022, 3.3 and App. C): what is left of a representation once the directions
that the logits read are taken out, by the inner product of its covariance.

Style is mu(r) = r - (r U) U^T, U a basis of the columns of M W_c^T. This projector is unique and cannot jump
from step to step, as a basis of the complement can. It equals W_s^T W_s r for any orthonormal W_s with
W_s M W_c^T = 0.
"""

import torch
from torch import Tensor, nn

RANK = 1e-6  # singular values below this share of the largest are none


class Covariance(nn.Module):
    """The mean and population covariance of all vectors seen so far, by class where there are several: exact
    whatever the batches (Chan et al. 1983), in float64, and part of a checkpoint.

    n, mean, scatter   [classes], [classes, d], [classes, d, d]

    >>> running = Covariance(2)
    >>> running.update(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    >>> running.update(torch.tensor([[0.0, 4.0], [2.0, 4.0]]))
    >>> running.matrix()[0]
    tensor([[1., 0.],
            [0., 4.]], dtype=torch.float64)
    """

    n: Tensor
    mean: Tensor
    scatter: Tensor

    def __init__(self, d: int, classes: int = 1) -> None:
        """Nothing is seen yet."""
        super().__init__()
        for name, shape in (("n", (classes,)), ("mean", (classes, d)), ("scatter", (classes, d, d))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @torch.no_grad()
    def update(self, vectors: Tensor, labels: Tensor | None = None) -> None:
        """Take in vectors [n, d] and their classes [n]; without classes there is one."""
        with torch.autocast(vectors.device.type, enabled=False):
            values = vectors.detach().double()
            labels = (
                torch.zeros(len(values), dtype=torch.long, device=values.device) if labels is None else labels
            )
            member = nn.functional.one_hot(labels, len(self.n)).double()
            count = member.sum(0)
            mean = (member.T @ values) / count.clamp(min=1)[:, None]
            off = values - mean[labels]
            scatter = (
                torch.einsum("nk,ni,nj->kij", member, off, off) if len(self.n) > 1 else (off.T @ off)[None]
            )
            total, shift = (self.n + count).clamp(min=1), mean - self.mean
            both = (self.n * count / total)[:, None, None] * shift[:, :, None] * shift[:, None, :]
            self.scatter += scatter + both
            self.mean += shift * (count / total)[:, None]
            self.n += count

    def matrix(self) -> Tensor:
        """M [classes, d, d]; zero for a class that was not seen."""
        return self.scatter / self.n.clamp(min=1)[:, None, None]


def directions(weight: Tensor, covariance: Tensor | None = None) -> Tensor:
    """U [d, rank]: an orthonormal basis of the columns of M W_c^T, by the thin singular value decomposition.

    weight      W_c [classes, d], of the last layer
    covariance  M [d, d]; without it the identity
    Directions whose singular value is below `RANK` of the largest are none, so that W_c = 0 has an empty
    basis and style is all of r.

    >>> directions(torch.zeros(3, 5)).shape, directions(torch.tensor([[3.0, 0.0], [6.0, 0.0]])).abs()
    (torch.Size([5, 0]), tensor([[1.],
            [0.]]))
    """
    weight = weight.detach()
    with torch.autocast(weight.device.type, enabled=False):
        columns = weight.T if covariance is None else covariance.to(weight.dtype) @ weight.T
        u, s, _ = torch.linalg.svd(columns, full_matrices=False)
    return u[:, (s > RANK * s[:1]) & (s > 0)]


def without(vectors: Tensor, basis: Tensor) -> Tensor:
    """Vectors [..., d] less their part in the span of an orthonormal basis [d, rank]: (I - U U^T) r."""
    return vectors - within(vectors, basis)


def within(vectors: Tensor, basis: Tensor) -> Tensor:
    """The part of vectors [..., d] in the span of an orthonormal basis [d, rank]: U U^T r."""
    return vectors @ basis @ basis.T


def random_directions(d: int, rank: int, *, seed: int) -> Tensor:
    """An orthonormal basis [d, rank] of a subspace drawn uniformly."""
    drawn = torch.randn(d, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(drawn).Q


def deflated(basis: Tensor, covariance: Tensor, weight: Tensor) -> Tensor:
    """B [d, d] as the released code makes it: one direction M w_k after the other is taken out of each row of
    a basis, and rows are given length 1 again.

    The directions are not made orthogonal to each other first, so that only the last is gone: the rank is
    d - 1, not d - K, and the logits can still be read off B r.
    """
    for direction in weight.detach().to(basis.dtype) @ covariance.to(basis.dtype):
        unit = direction / direction.norm().clamp(min=1e-12)
        basis = basis - (basis @ unit)[:, None] * unit
        basis = basis / basis.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return basis
