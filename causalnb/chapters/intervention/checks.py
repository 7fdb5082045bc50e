"""Numeric checks of what is known: identities of the swap and of the paper's averages (I1 to I16).

`CHECKS["I1"]()` runs one; each takes a second or two at most, in float64, on seeded numbers. Those
where the truth is planted are registered by `checks_of_truths`.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from causalnb import UserError, models
from causalnb.chapters import Check, Measure, Registry, registered
from causalnb.chapters.intervention import closed_forms, engine, kernels, values
from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention.metrics import Effects, effects
from causalnb.chapters.intervention.resampling import pearson
from causalnb.models.channelwise import apart_until

EQUAL = 1e-10
ROUNDED = closed_forms.PRINTED

CHECKS: Registry = {}


def shows(id: str, what: str, *, bound: float = EQUAL) -> Callable[[Measure], Callable[[], Check]]:
    """Register a measure, a value that must not exceed the bound and how much was compared."""
    return registered(CHECKS, "check", id, what, bound)


def apart(one: Tensor, other: Tensor) -> float:
    """The largest absolute difference."""
    return float((one - other).abs().max())


# Networks and games --------------------------------------------------------------------------------------


@cache
def small() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A ResNet-20 with drawn batch norms, and images of 16 x 16 before and after a perturbation, with the
    clean predictions as labels.
    """
    return _drawn(models.resnet20(seed=1), 3, 16)


@cache
def plain() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """The same of a cnn37, which has no batch norm, on 8 x 8."""
    return _drawn(models.cnn37(classes=3, size=8, seed=1), 1, 8)


def _drawn(model: nn.Module, channels: int, size: int) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    for part in model.modules():
        if (
            isinstance(part, nn.BatchNorm2d)
            and part.running_mean is not None
            and part.running_var is not None
        ):
            part.weight.data.uniform_(0.5, 1.5, generator=g)
            part.bias.data.uniform_(-0.3, 0.3, generator=g)
            part.running_mean.uniform_(-0.2, 0.2, generator=g)
            part.running_var.uniform_(0.5, 1.5, generator=g)
    model = model.double().eval()
    clean = torch.rand(3, channels, size, size, generator=g, dtype=torch.float64)
    noise = torch.randn(clean.shape, generator=g, dtype=torch.float64)
    with torch.no_grad():
        labels = model(clean).argmax(1)
    return model, clean, (clean + 0.2 * noise).clamp(0, 1), labels


def chosen() -> Tensor:
    """Every single channel, all but one, and some sets of 3 and 7."""
    sizes = (sets_.of_size(16, 1), sets_.of_size(16, 15), sets_.drawn(16, 3, 12, seed=0))
    return torch.cat([*sizes, sets_.drawn(16, 7, 12, seed=0)])


def table_of(v: Tensor) -> values.Table:
    """The paper's averages of a game [2^H]."""
    return values.table(v[None], torch.arange(len(v)), len(v).bit_length() - 1)


# The swap ------------------------------------------------------------------------------------------------


@shows(
    "I1", "largest |z of all channels swapped - z'|, and |AEA of all - what the attack costs|", bound=1e-12
)
def all_channels_are_the_attacked_image() -> tuple[float, int]:
    """Phi = all: z^Phi = z', so that AEA is 1 less the accuracy under attack."""
    model, clean, attacked, labels = small()
    found = effects(model, "conv1", clean, attacked, labels, torch.tensor([sets_.whole(16)]))
    with torch.no_grad():
        after = model(attacked)
    lost = float((after.argmax(1) != labels).double().mean())
    z = engine.by_the_text(model, "conv1", clean, attacked, found.sets)[:, 0]
    norms = (after - found.clean).norm(dim=1)
    return max(apart(z, after), apart(found.norms[:, 0], norms), abs(float(found.aea) - lost)), len(labels)


@shows("I2", "largest effect of swapping nothing, and of an attack that changes nothing", bound=0.0)
def nothing_swapped_has_no_effect() -> tuple[float, int]:
    """Phi = {}: exactly 0. So is every effect where the attacked features are the clean ones."""
    model, clean, attacked, labels = small()
    with torch.no_grad():
        z = model(clean)
    none = engine.by_the_text(model, "conv1", clean, attacked, torch.tensor([0]))[:, 0]
    same = engine.by_the_text(model, "conv1", clean, clean, chosen())
    return max(apart(none, z), apart(same, z[:, None])), same.shape[1]


@shows("I3", "largest difference when the swap is moved behind batch norm, ReLU and pooling", bound=0.0)
def the_swap_moves_behind_what_treats_channels_alone() -> tuple[float, int]:
    """Bit for bit, with `where`."""
    worst, n = 0.0, 0
    for model, clean, attacked, _ in (small(), plain()):
        seam = apart_until(model, "conv1")
        one, other = (engine.by_the_text(model, at, clean, attacked, chosen()) for at in ("conv1", seam))
        worst, n = max(worst, apart(one, other)), n + one.shape[1]
    return worst, n


@shows(
    "I3.mixing",
    "least change, as a share of the bound .001, by moving it behind a norm over channels",
    bound=1,
)
def the_swap_does_not_move_behind_a_group_norm() -> tuple[float, int]:
    """GroupNorm, LayerNorm and the next convolution mix channels: there the order matters."""
    _, clean, attacked, _ = plain()
    g = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.interpolate(x, 4).expand(-1, 16, -1, -1) for x in (clean, attacked))
    scale = 0.5 + torch.rand(16, 1, 1, generator=g, dtype=torch.float64)
    a, b = a * scale, b * scale
    inside = sets_.members(chosen(), 16)[:, None, :, None, None]
    mixing = [nn.GroupNorm(4, 16).double(), nn.LayerNorm([16, 4, 4]).double()]
    with torch.no_grad():
        moved = [
            apart(
                norm(torch.where(inside, b, a).flatten(0, 1)),
                torch.where(inside, norm(b), norm(a)).flatten(0, 1),
            )
            for norm in mixing
        ]
    return 0.001 / min(moved), len(mixing)


@shows("I7", "largest change of logits and effects in a twin with rescaled kernels")
def rescaled_kernels_change_no_effect() -> tuple[float, int]:
    """K_j -> alpha_j K_j, undone by the batch norm, or by the next convolution."""
    alpha = torch.logspace(-0.3, 1, 16, dtype=torch.float64)
    worst = 0.0
    for model, clean, attacked, labels in (small(), plain()):
        twin = kernels.rescaled(model, "conv1", alpha)
        one, other = (effects(m, "conv1", clean, attacked, labels, chosen()) for m in (model, twin))
        worst = max(worst, apart(one.clean, other.clean), apart(one.norms, other.norms))
    return worst, 16


@shows("I13", "largest |conv2 of a swap - sum over swapped channels|, relative to its largest value")
def the_second_convolution_is_a_sum_over_swapped_channels() -> tuple[float, int]:
    """conv2(a^Phi) = conv2(a) + sum over Phi of conv2_j(a'_j - a_j): what the engine computes is what the
    text does.
    """
    worst, n = 0.0, 0
    for model, clean, attacked, _ in (small(), plain()):
        made = engine.Engine(model, "conv1")
        fast = torch.stack([one.logits for one in made(clean, attacked, chosen())])
        slow = engine.by_the_text(model, "conv1", clean, attacked, chosen())
        assert made.seconds and not made.notes
        worst, n = max(worst, apart(fast, slow) / float(slow.abs().max())), n + fast[..., 0].numel()
    return worst, n


@shows("I15", "largest change under permuted channels, constant logits, and scaled logits")
def permuted_channels_constants_and_scales() -> tuple[float, int]:
    """Channels permuted together with the next layer's inputs permute the effects; a constant on all logits
    changes none; a factor c scales AEL by |c| and leaves AEA.
    """
    model, clean, attacked, labels = plain()
    alone = sets_.of_size(16, 1)
    first = effects(model, "conv1", clean, attacked, labels, alone)

    def again(change: Callable[[nn.Module], None]) -> Effects:
        made, *_ = _drawn(models.cnn37(classes=3, size=8, seed=1), 1, 8)
        with torch.no_grad():
            change(made)
        return effects(made, "conv1", clean, attacked, labels, alone)

    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))

    def permute(made: nn.Module) -> None:
        one, two = made.get_submodule("conv1"), made.get_submodule("conv2")
        assert isinstance(one, nn.Conv2d) and isinstance(two, nn.Conv2d) and one.bias is not None
        one.weight.copy_(one.weight[order])
        one.bias.copy_(one.bias[order])
        two.weight.copy_(two.weight[:, order])

    def scale(made: nn.Module) -> None:
        head = made.get_submodule("fc")
        assert isinstance(head, nn.Linear)
        head.weight.mul_(2.5)
        head.bias.mul_(2.5)

    def lift(made: nn.Module) -> None:
        head = made.get_submodule("fc")
        assert isinstance(head, nn.Linear)
        head.bias.add_(7)

    permuted, scaled, lifted = again(permute), again(scale), again(lift)
    return max(
        apart(permuted.norms, first.norms[:, order]),
        apart(scaled.norms, 2.5 * first.norms),
        apart(lifted.norms, first.norms),
        float((scaled.wrong != first.wrong).sum() + (lifted.wrong != first.wrong).sum()),
    ), first.norms.numel()


@shows("training", "networks in training mode that are not refused", bound=0)
def training_mode_is_refused() -> tuple[float, int]:
    """Its batch norm would mix the sets of a batch."""
    try:
        engine.Engine(models.resnet20(), "conv1")
    except UserError:
        return 0, 1
    return 1, 1


# The paper's averages ------------------------------------------------------------------------------------


@shows("I4", "largest |mean of the channels' averages - mean of the sets|, every size of a drawn game")
def channels_average_to_the_sets() -> tuple[float, int]:
    """mean over j of A_j^gamma = M^gamma: each set is counted gamma times."""
    made = table_of(closed_forms.game())
    return apart(made.channel.mean(2), made.mean), len(made.sizes)


@shows("I5", "largest |mean of the sets without a channel - (H M - gamma A_j) / (H - gamma)|")
def sets_without_a_channel_follow() -> tuple[float, int]:
    """From the table alone."""
    v = closed_forms.game()
    made, inside = table_of(v), sets_.members(torch.arange(len(v)), 16)
    of, worst = sets_.sizes(torch.arange(len(v)), 16), 0.0
    for size in range(1, 16):
        for j in range(16):
            direct = v[(of == size) & ~inside[:, j]].mean()
            worst = max(worst, abs(float(made.without()[0, size - 1, j] - direct)))
    return worst, 15 * 16


@shows("I6", "largest |A_j^15 - (sum of a - a_j) / 15|, a_j the effect of all but j")
def at_h_less_one_a_channel_is_left_clean() -> tuple[float, int]:
    """The ranking at 15 is that of leaving one channel clean."""
    v = closed_forms.game()
    but_one = v[sets_.whole(16) ^ (1 << torch.arange(16))]
    return apart(table_of(v).at(15)[0], (but_one.sum() - but_one) / 15), 16


@shows("I8", "largest difference of averages, variance and R of additive effects from those of the channels")
def additive_effects_over_sets_are_the_channels() -> tuple[float, int]:
    """A_j^gamma = v_j (H - gamma) / (H - 1) + V (gamma - 1) / (H - 1), also E20; the variance over sets; R of
    two additive effects over all sets of any size is R over the channels.
    """
    g = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 16, generator=g, dtype=torch.float64)
    v, w = closed_forms.additive(one), closed_forms.additive(other)
    made, r, worst = table_of(v), float(pearson(one, other)), 0.0
    for size in range(1, 16):
        held = sets_.of_size(16, size)
        expected = one * (16 - size) / 15 + one.sum() * (size - 1) / 15
        variance = size * (16 - size) / 15 * float(one.var(correction=0))
        worst = max(
            worst,
            apart(made.at(size)[0], expected),
            abs(float(v[held].var(correction=0)) - variance),
            abs(float(pearson(v[held], w[held])) - r),
        )
    return worst, 15


@shows("I9", "largest |Shapley values from the table - from their definition over 2^16 sets|")
def shapley_values_follow_from_the_table() -> tuple[float, int]:
    """phi_j = v(N) / H + sum over gamma of (A_j^gamma - M^gamma) / (H - gamma)."""
    v = closed_forms.game()
    found = values.shapley(table_of(v))[0]
    return max(apart(found, _by_definition(v)), abs(float(found.sum() - v[-1]))), 16


def _by_definition(v: Tensor) -> Tensor:
    """sum over sets S without j of |S|! (H - |S| - 1)! / H! (v(S with j) - v(S))."""
    every = torch.arange(len(v))
    of = sets_.sizes(every, 16)
    weights = torch.tensor(
        [math.factorial(s) * math.factorial(15 - s) / math.factorial(16) for s in range(16)],
        dtype=torch.float64,
    )
    found = []
    for j in range(16):
        outside = every[every >> j & 1 == 0]
        found.append((weights[of[outside]] * (v[outside | 1 << j] - v[outside])).sum())
    return torch.stack(found)


@shows("I10", "largest |Banzhaf values from the table - mean of what a channel adds|")
def banzhaf_values_follow_from_the_table() -> tuple[float, int]:
    """Each set of the others as likely as any."""
    v = closed_forms.game()
    every = torch.arange(len(v))
    direct = [
        (v[outside | 1 << j] - v[outside]).mean()
        for j in range(16)
        for outside in [every[every >> j & 1 == 0]]
    ]
    return apart(values.banzhaf(table_of(v))[0], torch.stack(direct)), 16


@shows("I11", "largest |averages and Shapley values of the mean game - means of those of its images|")
def averages_change_places() -> tuple[float, int]:
    """What gives every later test its sample of images."""
    v = torch.stack([closed_forms.game(10, seed=seed) for seed in range(4)])
    made, of_mean = values.table(v, torch.arange(1024), 10), table_of(v.mean(0))
    shapley = apart(values.shapley(made).mean(0), values.shapley(of_mean)[0])
    return max(apart(made.averaged().channel, of_mean.channel), shapley), 4


@shows("I12", "largest shortfall of mean norms under norms of means, and of sums under effects of unions")
def norms_are_convex_and_linear_effects_sub_additive() -> tuple[float, int]:
    """AEL >= |E[z - z^Phi]|; with a linear rest AEL of a union <= the sum, set by set."""
    model, clean, attacked, labels = small()
    z = engine.by_the_text(model, "conv1", clean, attacked, chosen())
    with torch.no_grad():
        change = model(clean)[:, None] - z
    convex = (change.mean(0).norm(dim=1) - change.norm(dim=2).mean(0)).max()
    every = sets_.every(4)
    norms = closed_forms.swapped(closed_forms.linear(closed_forms.TOY, (0, 0)), 4, every).norms[0]
    pairs = [(s, t) for s in range(16) for t in range(16) if not s & t]
    union = max(float(norms[s | t] - norms[s] - norms[t]) for s, t in pairs)
    return max(float(convex), union), len(pairs) + z.shape[1]


@shows(
    "I12.breaks", "least excess of an effect over its parts behind a ReLU, as a share of the bound 1", bound=1
)
def behind_a_relu_effects_need_not_be_sub_additive() -> tuple[float, int]:
    """Two channels that act together only: 1 for both, 0 for each."""
    v = closed_forms.swapped(closed_forms.together(), 16, torch.tensor([1, 2, 3])).norms[0]
    excess = float(v[2] - v[0] - v[1])
    return (1 / excess if excess > 0 else math.inf), 1


@shows("I14", "largest |v - sums of dividends|, and |Shapley values - dividends shared out|", bound=1e-8)
def dividends_sum_to_the_game() -> tuple[float, int]:
    """d(T) from all 2^16 values; phi_j = sum over T with j of d(T) / |T|. Alternating sums of 65,536 terms:
    the bound is wider.
    """
    v, every = closed_forms.game(), torch.arange(1 << 16)
    d = values.dividends(v)
    shared = (d / sets_.sizes(every, 16).clamp(min=1)) @ sets_.members(every, 16).double()
    return max(apart(values.sums(d), v), apart(shared, values.shapley(table_of(v))[0])), len(v)


@shows(
    "I16",
    "largest |sum of squared Walsh coefficients - variance|, |1 - first share of additive effects|, "
    "|first coefficients + Banzhaf / 2|",
)
def walsh_variances_are_the_variance() -> tuple[float, int]:
    """Parseval on the cube; additive effects are of order 1; order 1 is Banzhaf's value."""
    v = closed_forms.game()
    w = values.walsh(v)
    first = w[1 << torch.arange(16)]
    parts = closed_forms.additive(torch.arange(1.0, 17))
    return max(
        abs(float((w[1:] ** 2).sum() - v.var(correction=0))),
        abs(1 - float(values.shares(parts)[0])),
        apart(first, -values.banzhaf(table_of(v))[0] / 2),
        abs(1 - float(values.shares(v).sum())),
    ), len(v)
