import pytest
import torch
from torch import nn

from causalnb import data, training
from causalnb.chapters.bench import toys, traps


class Mean(nn.Module):
    """Class 0 where the mean pixel lies above `threshold`, else class 1, `slope` times sure of it."""

    def __init__(self, threshold, slope=1.0):
        super().__init__()
        self.threshold, self.slope = threshold, slope

    def forward(self, images):
        above = self.slope * (images.flatten(1).mean(dim=1) - self.threshold)
        return torch.stack([above, -above], dim=1)


@pytest.fixture(scope="module")
def net():
    """A network trained on digits of 8 x 8, and 30 test images that it gets right."""
    train, test = (data.load("digits8", split) for split in ("train", "test"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    training.fit(
        model,
        train,
        training.cross_entropy,
        training.Recipe(optimiser="adam", rate=0.01, batch=100, epochs=6),
    )
    right = (training.predict(model, test.images).argmax(dim=1) == test.labels).nonzero().flatten()[:30]
    return model.eval(), test.images[right], test.labels[right]


def gradient_of_masked(logits, labels):
    asked = torch.tensor(logits, requires_grad=True)
    loss = traps.masked_with_zeros(asked, torch.tensor(labels))
    return loss.tolist(), torch.autograd.grad(loss.sum(), asked)[0].tolist()


def test_an_image_that_is_never_broken_comes_back_black_and_counts_where_black_is_another_class():
    images = 0.4 + 0.5 * torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(8, dtype=torch.int64)
    assert traps.black_images(Mean(0.02, slope=50.0).eval(), images, labels) == (
        traps.Trap("F1", "foolbox", said=8, true=0, n=8),
        8,
    )
    assert traps.black_images(Mean(-1.0, slope=50.0).eval(), images, labels) == (
        traps.Trap("F1", "foolbox", said=0, true=0, n=8),
        8,
    )


def test_on_digits_the_library_says_more_than_is_so(net):
    model, images, labels = net
    trap, black = traps.black_images(model, images, labels)
    seen = model(torch.zeros(1, 1, 8, 8)).argmax()
    assert trap.n == 30 and trap.said > trap.true and black >= trap.said - trap.true
    assert trap.said <= 30 - int((labels == seen).sum()) + trap.true


def test_clean_errors_count_on_neither_side(net):
    model, images, labels = net
    trap, _ = traps.black_images(model, images, labels.where(torch.arange(30) >= 10, (labels + 1) % 10))
    assert trap.n == 20 and trap.true <= trap.said <= 20


def test_ten_steps_of_a_thirtieth_do_not_cross_the_ball():
    """Every pixel must fall by 0.09 of the budget 0.1: ten short steps reach 0.033 from a start in the
    middle, ten of a quarter all.
    """
    images = torch.full((5, 1, 8, 8), 0.59)
    assert traps.short_steps(Mean(0.5), images, torch.zeros(5, dtype=torch.int64), eps=0.1) == traps.Trap(
        "F13", "foolbox", said=5, true=0, n=5
    )
    assert (
        traps.short_steps(Mean(0.5), images, torch.zeros(5, dtype=torch.int64), eps=0.1, steps=60).said == 0
    )


def test_the_product_with_zero_is_the_margin_while_the_rival_is_above_zero():
    assert gradient_of_masked([[2.0, 1.0, -1.0]], [0]) == ([1.0], [[1.0, -1.0, 0.0]])


def test_a_rival_below_zero_is_hidden_behind_the_class_that_was_masked():
    """The margin is 2, the loss 1: the masked label's zero passes for the rival."""
    assert gradient_of_masked([[1.0, -1.0, -2.0]], [0]) == ([1.0], [[1.0, 0.0, 0.0]])


def test_where_all_outputs_lie_below_zero_the_loss_is_flat():
    assert gradient_of_masked([[-1.0, -2.0, -3.0], [-5.0, -0.1, -9.0]], [0, 1]) == (
        [0.0, 0.0],
        [[0.0] * 3] * 2,
    )


def test_a_loss_that_is_reached_has_no_gradient_left():
    assert gradient_of_masked([[1.0, 3.0]], [0]) == ([0.0], [[0.0, 0.0]])


def test_three_heads_that_decide_alike_differ_in_their_gradients(net):
    model, images, labels = net
    assert traps.flat_losses(model, images, labels) == {"logits": 0, "log-softmax": 30, "logits - 50": 30}
    with torch.no_grad():
        logits = model(images)
    assert logits.amax() < 50 and torch.equal(logits.log_softmax(dim=1).argmax(dim=1), logits.argmax(dim=1))


def test_louder_logits_look_robust_to_the_cross_entropy_and_not_to_the_ratio_of_differences(net):
    model, images, labels = net
    found = traps.saturated(model, images, labels, eps=0.15, steps=10)
    (plain, plain_t), (loud, loud_t) = found["logits"], found["logits x 1000"]
    assert list(found) == ["logits", "logits x 1000"] and plain < 10 and loud > 2 * plain + 10
    assert abs(loud_t - plain_t) <= 1 and loud_t < loud - 10


def test_scaled_logits_decide_as_the_others(net):
    model, images, _ = net
    assert torch.equal(toys.Scaled(model, 1000.0)(images), 1000.0 * model(images))
