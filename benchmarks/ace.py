"""Chapter 1: interventional tables by propagation, and Taylor tables from Jacobians."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.measure import Comparison, cost, matrix_rate, side_by_side
from causalnb.chapters.ace.interventions import interventional_table
from causalnb.chapters.ace.taylor import interventional_covariance, taylor_table
from causalnb.models import LeNet, lenet

ALPHAS = torch.linspace(0, 1, 11)
ROWS, EACH = 20, 784 * len(ALPHAS)
BATCH = 220  # the fastest of 55, 110, 220, 550 and 1,100


def network() -> LeNet:
    """A LeNet whose weights are doubled, so that its logits are of the size of a trained one's."""
    model = lenet()
    for parameter in model.parameters():
        parameter.data *= 2
    return model


def images(n: int = ROWS) -> Tensor:
    """Seeded images with a bright middle and an empty background, [n, 1, 28, 28]."""
    drawn = torch.zeros(n, 1, 28, 28)
    drawn[..., 4:-4, 4:-4] = torch.rand(n, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    return drawn


@torch.no_grad()
def outputs(model: nn.Module, row: Tensor, alphas: Tensor, *, batch: int, limit: int | None = None) -> Tensor:
    """Logits and probabilities [2, P * A, K] of a row after each intervention, or after the first `limit`:
    whole networks, all classes at once.
    """
    parts = []
    for some in torch.arange(limit or row.numel() * len(alphas)).split(batch):
        changed = row.flatten().repeat(len(some), 1)
        changed[torch.arange(len(some)), some // len(alphas)] = alphas[some % len(alphas)]
        logits = model(changed.view(-1, *row.shape)).double()
        parts.append(torch.stack([logits, logits.softmax(-1)]))
    return torch.cat(parts, 1)


def expectations(model: nn.Module, rows: Tensor, alphas: Tensor) -> Tensor:
    """E[f_c | do(x_p = alpha)] [2, P, A, K] by batched forwards: the strongest simple way."""
    total = outputs(model, rows[0], alphas, batch=BATCH)
    for row in rows[1:]:
        total += outputs(model, row, alphas, batch=BATCH)
    return (total / len(rows)).view(2, rows[0].numel(), len(alphas), -1)


def difference_of_tables() -> float:
    """In float64, over two rows, three values and every pixel."""
    model, rows, alphas = network().double(), images(2).double(), ALPHAS[::5].double()
    return (
        (interventional_table(model, rows, alphas).expectation - expectations(model, rows, alphas))
        .abs()
        .max()
        .item()
    )


def multiply_adds(
    grid: int = 14, channels: tuple[int, int] = (6, 16), widths: tuple[int, ...] = (120, 84, 10)
) -> float:
    """Of one propagated intervention on a 28 x 28 image, the mean over its pixels."""
    cells = [min(grid - 5, cell + 1) // 2 - max(0, cell - 5) // 2 + 1 for cell in range(grid)]
    places = (sum(cells) / grid) ** 2 * 4 * channels[1]
    return (
        25 * channels[0]
        + 9 * channels[0] * places
        + places / 4 * widths[0]
        + sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    )


def best_ratio(seconds_each: float) -> float:
    """Of a way that takes so long for one intervention, if ours took no longer than its products."""
    return seconds_each * matrix_rate() / multiply_adds()


def table() -> Comparison:
    """Batched forwards."""
    model, rows = network(), images()

    def other() -> Tensor:
        return expectations(model, rows[:2], ALPHAS)

    return side_by_side(
        other,
        lambda: interventional_table(model, rows, ALPHAS),
        pair="ace-table",
        difference=difference_of_tables(),
        bound=best_ratio(cost(other) / (2 * EACH)),
        subset=f"2 of {ROWS} rows",
        scale=ROWS / 2,
    )


def table_single() -> Comparison:
    """One forward for each intervention, as published code loops."""
    model, rows, some = network(), images(), 1000

    def other() -> Tensor:
        return outputs(model, rows[0], ALPHAS, batch=1, limit=some)

    return side_by_side(
        other,
        lambda: interventional_table(model, rows, ALPHAS),
        pair="ace-table-single",
        difference=difference_of_tables(),
        bound=best_ratio(cost(other) / some),
        subset=f"{some} of {ROWS * EACH} interventions",
        scale=ROWS * EACH / some,
    )


def explicit_expectation(model: nn.Module, mean: Tensor, covariance: Tensor) -> float:
    """Eq. (8) for the probability of class 3 with pixel 406 at 1, by its whole autograd Hessian."""

    def probability(flat: Tensor) -> Tensor:
        return model(flat.view(1, *mean.shape)).softmax(-1)[0, 3]

    mu = mean.flatten().clone()
    mu[406] = 1
    hessian = torch.func.hessian(probability)(mu).detach()
    return (probability(mu) + (hessian * interventional_covariance(covariance, 406)).sum() / 2).item()


def taylor() -> Comparison:
    """The explicit Hessian of each probability at each point."""
    rows, alphas, model = images(100), ALPHAS[::10], network()
    mean, covariance, whole = rows.mean(0), rows.flatten(1).T.cov(), 784 * len(alphas) * 10
    exact = network().double(), mean.double(), covariance.double()
    difference = abs(
        taylor_table(*exact, alphas.double()).expectation[1, 406, 1, 3].item() - explicit_expectation(*exact)
    )
    return side_by_side(
        lambda: explicit_expectation(model, mean, covariance),
        lambda: taylor_table(model, mean, covariance, alphas),
        pair="ace-taylor",
        difference=difference,
        rounds=4,
        subset=f"1 of {whole} Hessians",
        scale=whole,
    )


PAIRS: dict[str, Callable[[], Comparison]] = {
    "ace-table": table,
    "ace-table-single": table_single,
    "ace-taylor": taylor,
}
