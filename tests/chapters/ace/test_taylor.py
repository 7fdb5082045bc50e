import pytest
import torch
from torch import nn

from causalnb import UserError
from causalnb.chapters.ace.checks import drawn_images, layer, network
from causalnb.chapters.ace.taylor import (
    covariance_of_logits,
    curvature,
    interventional_covariance,
    jacobians,
    softmax_hessian_trace,
    taylor_expectation,
    taylor_table,
)
from causalnb.models import lenet

ALPHAS = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)


def moments(images):
    return images.mean(0), images.flatten(1).T.cov()


def test_the_table_is_equation_8_with_the_explicit_hessian():
    model, (mean, covariance) = network(), moments(drawn_images())
    table = taylor_table(model, mean, covariance, ALPHAS, chunk=4)
    for pixel in range(9):
        for a, alpha in enumerate(ALPHAS.tolist()):
            for c in (0, 3):
                explicit = taylor_expectation(
                    lambda x, c=c: model(x.view(1, 1, 3, 3)).softmax(-1)[0, c],
                    mean.flatten(),
                    covariance,
                    pixel=pixel,
                    alpha=alpha,
                )
                assert table.expectation[1, pixel, a, c].item() == pytest.approx(explicit.item(), abs=1e-12)


def test_the_trace_of_a_lenet_is_the_explicit_hessians():
    model, images = (
        lenet().double(),
        torch.rand(40, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    )
    for parameter in model.parameters():
        parameter.data *= 3
    (mean, covariance), pixel = moments(images), torch.tensor([406])
    logits, jacobian = jacobians(model, mean[None])
    trace = softmax_hessian_trace(logits, covariance_of_logits(jacobian, covariance, pixel))[0, 3]
    hessian = torch.func.hessian(lambda x: model(x.view(1, 1, 28, 28)).softmax(-1)[0, 3])(mean.flatten())
    explicit = (hessian * interventional_covariance(covariance, 406)).sum()
    assert trace.item() == pytest.approx(explicit.item(), rel=1e-10)


def test_logits_of_a_relu_network_have_no_second_order_term():
    model, (mean, covariance) = network(), moments(drawn_images())
    zeroth, second = (taylor_table(model, mean, covariance, ALPHAS, order=order) for order in (0, 2))
    assert torch.allclose(zeroth.expectation[0], second.expectation[0], atol=1e-12)
    assert (zeroth.expectation[1] - second.expectation[1]).abs().max() > 0.1


def test_a_linear_network_gives_the_sampled_table():
    from causalnb.chapters.ace.interventions import interventional_table

    model, images = nn.Sequential(nn.Flatten(), layer(9, 4)), drawn_images()
    assert torch.allclose(
        taylor_table(model, *moments(images), ALPHAS).expectation[0],
        interventional_table(model, images, ALPHAS).expectation[0],
    )


def test_only_row_and_column_of_the_pixel_leave_the_covariance():
    kept = interventional_covariance(torch.arange(1.0, 10.0).view(3, 3), 1)
    assert kept.tolist() == [[1.0, 0.0, 3.0], [0.0, 0.0, 0.0], [7.0, 0.0, 9.0]]


def test_curved_logits_are_refused_at_order_2_and_taken_at_order_0():
    model, image = lenet(variant="tanh-average", size=12).double(), torch.rand(1, 12, 12, dtype=torch.float64)
    assert curvature(model, image) > 0
    assert curvature(lenet(size=12).double(), image) == 0
    covariance = torch.eye(144, dtype=torch.float64)
    with pytest.raises(UserError, match="its logits are curved .* choose order = 0"):
        taylor_table(model, image, covariance, ALPHAS)
    assert taylor_table(model, image, covariance, ALPHAS, order=0).effect.shape == (2, 144, 3, 10)


def test_there_is_no_other_order():
    with pytest.raises(ValueError, match="order = 1: it is 0 or 2"):
        taylor_table(network(), *moments(drawn_images()), ALPHAS, order=1)
    with pytest.raises(ValueError, match="order = 3"):
        taylor_expectation(torch.sum, torch.zeros(2), torch.eye(2), pixel=0, alpha=0.0, order=3)


def test_probabilities_of_the_table_sum_to_one():
    table = taylor_table(network(), *moments(drawn_images()), ALPHAS)
    assert (table.expectation[1].sum(-1) - 1).abs().max() < 1e-12


def test_gradients_of_the_model_are_left_alone():
    model = network()
    taylor_table(model, *moments(drawn_images()), ALPHAS)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("order", [0, 2])
def test_a_model_in_training_gives_the_table_of_one_that_evaluates_and_goes_on_training(order):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9), nn.Dropout(0.5), layer(9, 4)).double()
    moved, (mean, covariance) = nn.init.uniform_(model[1].running_mean).clone(), moments(drawn_images())
    training, evaluating = (
        taylor_table(model.train(mode), mean, covariance, ALPHAS, order=order) for mode in (True, False)
    )
    for name, values in vars(training).items():
        assert torch.equal(values, getattr(evaluating, name)), name
    taylor_table(model.train(), mean, covariance, ALPHAS, order=order)
    assert all(module.training for module in model.modules()) and torch.equal(model[1].running_mean, moved)
