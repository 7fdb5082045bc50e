import sys

import pytest
import torch
from torch import nn

from causalnb.attacks import flags


class Draws(nn.Module):
    """Adds noise of a given size to the logits, or a random factor to all of them."""

    def __init__(self, model, size=0.0, factor=0.0):
        super().__init__()
        self.model, self.size, self.factor = model, size, factor

    def forward(self, images):
        logits = self.model(images)
        return logits * (1 + self.factor * torch.rand(1)) + self.size * torch.randn_like(logits)


class Optimises(nn.Module):
    """Takes a step along its own gradient before it answers, by one of torch's two calls."""

    def __init__(self, model, by):
        super().__init__()
        self.model, self.by = model, by

    def forward(self, images):
        with torch.enable_grad():
            asked = images.detach().clone().requires_grad_()
            loss = self.model(asked).logsumexp(dim=1).sum()
            gradient = (
                torch.autograd.grad(loss, asked)[0] if self.by == "grad" else loss.backward() or asked.grad
            )
        return self.model(images - 0.01 * gradient)


@pytest.fixture
def right(small):
    """The model with the 20 images that it gets right."""
    return small.model, small.images[4:], small.labels[4:]


def said(model, images, labels):
    return list(flags.before_attacking(model, images, labels))


def test_a_plain_network_has_no_flag(right):
    assert said(*right) == []


def test_a_softmax_is_seen_and_logits_in_the_same_range_are_not(right):
    model, images, labels = right
    assert said(nn.Sequential(model, nn.Softmax(dim=1)), images, labels) == [
        "softmax outputs: gradients vanish where the model is sure, give logits"
    ]
    assert flags.probabilities(torch.tensor([[0.25, 0.75], [1.0, 0.0]])) and not flags.probabilities(
        torch.empty(0, 2)
    )
    for other in (
        [[0.25, 0.75], [0.5, 0.6]],
        [[0.25, 0.75], [1.25, -0.25]],
        [[torch.nan, 1.0]],
        [[-0.7, -0.7]],
    ):
        assert not flags.probabilities(torch.tensor(other))


def test_a_constant_output_is_seen_and_has_no_gradient():
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.rand(5, 1, 2, 2)
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([2.0, 0.0, 0.0])
    assert said(model, images, torch.zeros(5, dtype=torch.int64)) == [
        "constant outputs: the model gives every image the same logits",
        "zero gradients: the cross-entropy has none on 5 of 5 images",
    ]
    assert len(said(model, images[:1], torch.zeros(1, dtype=torch.int64))) == 1  # one image is no constant


def test_a_model_that_draws_is_seen(right):
    model, images, labels = right
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert said(Draws(model, size=0.01), images, labels) == [
            "randomised outputs: two passes differ, average over draws (EOT) and score over many"
        ]
        assert flags.randomised(Draws(model, size=10.0), images)


def test_rounding_and_a_factor_on_all_logits_are_no_randomness(right):
    """Neither a prediction nor a direction differs by more than 1e-4."""
    model, images, _ = right
    assert not flags.randomised(Draws(model, size=1e-7), images) and not flags.randomised(
        Draws(model, factor=1.0), images
    )
    assert not flags.randomised(model, images)


def test_a_prediction_that_flips_is_randomness_however_small_the_step():
    """Logits of equal size but for 1e-6: their direction stands still."""

    class Coin(nn.Module):
        def forward(self, images):
            return torch.tensor([1.0, 1.0]) + 1e-6 * torch.randn(len(images), 2)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert flags.randomised(Coin(), torch.rand(20, 1, 2, 2))


class Leans(nn.Module):
    """Logits that hear a share of what their batch says."""

    def __init__(self, model, share):
        super().__init__()
        self.model, self.share = model, share

    def forward(self, images):
        logits = self.model(images)
        return logits + self.share * logits.roll(1, dims=0)


HANGS = (
    "answers hang on neighbours: {} of {} images have other logits alone than in a batch (batch norm without "
    "running statistics?), so every number hangs on `chunk`: give the model fixed statistics"
)


@pytest.mark.parametrize("n", [1, 2, 8, 20])
def test_batch_norm_without_running_statistics_is_seen_on_any_number_of_images(right, n):
    model, images, labels = right
    assert said(model, images[:n], labels[:n]) == []
    model[1].track_running_stats, model[1].running_mean, model[1].running_var = False, None, None
    assert said(model, images[:n], labels[:n]) == [HANGS.format(min(n, 8), min(n, 8))]


def test_a_hundredth_of_a_neighbour_s_logits_is_seen_and_rounding_is_not(right):
    model, images, labels = right
    assert said(Leans(model, 0.01), images, labels) == [HANGS.format(8, 8)]
    assert said(Leans(model, 1e-6), images, labels) == []


def test_a_model_that_draws_is_not_said_to_hang_on_neighbours_too(right):
    model, images, labels = right
    assert not any("neighbours" in one for one in said(Draws(Leans(model, 0.5), size=1.0), images, labels))


@pytest.mark.parametrize(
    ("right_of", "near"),
    [
        ((0, 50, 10), True),
        ((9, 50, 10), True),
        ((10, 50, 10), False),
        ((1, 1, 10), True),
        ((2, 2, 10), False),
        ((4, 4, 2), True),
        ((5, 5, 2), False),
        ((60, 100, 2), False),
        ((54, 100, 2), True),
        ((1, 1, 1000), False),
    ],
)
def test_near_chance_is_a_tenth_of_the_way_up_or_a_count_that_guessing_reaches(right_of, near):
    assert bool(flags.near_chance(*right_of)) is near


@pytest.mark.parametrize("by", ["grad", "backward"])
def test_a_model_that_optimises_in_its_forward_pass_is_seen(right, by):
    model, images, labels = right
    sentence = "optimises in the forward pass: attack the whole function, and the static model under it"
    with torch.no_grad():
        assert flags.optimises(Optimises(model, by), images)
    assert sentence in said(Optimises(model, by), images, labels) and not flags.optimises(model, images)


def test_a_function_of_one_s_own_that_is_called_grad_is_no_optimisation(right):
    model, images, _ = right

    def grad(some):
        return model(some)

    assert not flags.optimises(lambda some: grad(some), images)


def test_the_trace_function_is_afterwards_the_one_before(right):
    model, images, _ = right

    def trace(frame, event, argument):
        return None

    def breaks(images):
        raise RuntimeError("broken off")

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        flags.optimises(model, images)
        after = [sys.gettrace()]
        with pytest.raises(RuntimeError, match="broken off"):
            flags.optimises(breaks, images)
        after.append(sys.gettrace())
    finally:
        sys.settrace(before)
    assert after == [trace, trace]


def test_loud_logits_leave_the_cross_entropy_no_gradient_but_the_margin_keeps_its_own(right):
    model, images, labels = right
    with torch.no_grad():
        ordered = model(images).sort(dim=1).values
    sure = 1e5 * (ordered[:, -1] - ordered[:, -2]) > 150  # exp(-150) is 0 in float32

    def loud(some):
        return 1e5 * model(some)

    assert sure.sum() > 10 and flags.zero_gradients(loud, images, labels)[sure].all()
    assert (
        not flags.zero_gradients(loud, images, labels, margin=True).any()
        and not flags.zero_gradients(model, images, labels).any()
    )
    count = int(flags.zero_gradients(loud, images, labels).sum())
    assert said(loud, images, labels) == [
        f"zero gradients: the cross-entropy has none on {count} of 20 images"
    ]


def test_no_gradient_at_all_and_one_that_is_no_number_count_as_none():
    images, labels = torch.tensor([0.0, 0.25])[:, None, None, None], torch.tensor([0, 0])

    def roots(some):  # the slope of a root is infinite at 0
        return torch.stack([some.flatten(1)[:, 0].sqrt(), torch.zeros(len(some))], dim=1)

    assert flags.zero_gradients(roots, images, labels).tolist() == [True, False]
    assert flags.zero_gradients(lambda some: roots(some.detach()), images, labels).tolist() == [True, True]
    assert flags.zero_gradients(
        lambda some: torch.eye(2)[:, :].repeat(4, 1) * nn.Parameter(torch.ones(1)), images, labels
    ).tolist() == [True, True]


def test_margins_are_of_as_many_labels_as_rows():
    with pytest.raises(ValueError, match="2 labels for 3 rows of logits: give one for each"):
        flags.margins(torch.zeros(3, 2), torch.tensor([0, 1]))
