import pytest
import torch
from torch import nn

from causalnb.models.comparing import FEW, difference

IMAGES = torch.rand(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).double()


def test_a_model_is_not_different_from_itself_also_where_it_draws_and_learns(model):
    assert difference(model, lambda own: own, IMAGES) is None
    assert model[1].num_batches_tracked == 0 and model[0].weight.grad is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: y * (1 + 1e-15), "different values"),
        (lambda y: y.float(), "different values"),
        (lambda y: y.detach(), "different gradients"),
        (lambda y: y + (y - y.detach()), "different gradients"),
        (
            lambda y: y.clone().requires_grad_() if y.requires_grad else y.requires_grad_(),
            "different gradients",
        ),
    ],
)
def test_what_differs_is_said(model, change, said):
    assert difference(model, lambda own: lambda x: change(own(x)), IMAGES) == (
        f"on 3 images its halves and the model give {said}"
    )


def test_a_gradient_may_differ_by_rounding(model):
    def rounded(own):
        return lambda x: (lambda y: y + 1e-13 * (y - y.detach()))(own(x))

    assert difference(model, rounded, IMAGES) is None


def test_another_buffer_afterwards_and_an_error_are_said(model):
    def counted(own):
        return lambda x: (own(x), own[1].num_batches_tracked.add_(1))[0]

    assert difference(model, counted, IMAGES) == (
        "on 3 images its halves leave another 1.num_batches_tracked than the model"
    )
    assert difference(model, lambda own: lambda x: own(x[:, :1]), IMAGES).startswith(
        "on 3 images its halves end in an error (mat1 and mat2 shapes cannot be multiplied"
    )


def test_not_a_number_is_equal_to_itself_and_whole_numbers_have_no_gradient():
    assert difference(nn.Threshold(0.5, float("nan")), lambda own: own, IMAGES) is None
    table = nn.Embedding(4, 2)
    assert difference(table, lambda own: own, torch.tensor([1, 2])) is None


def test_the_first_images_are_compared_all_where_these_do_not_do():
    seen = []

    class Fixed(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x.reshape(20, 2)

    assert difference(nn.Identity(), lambda own: lambda x: x + (len(x) > FEW), IMAGES.repeat(9, 1)) is None
    assert difference(Fixed(), lambda own: lambda x: x + 1, torch.rand(20, 2)).startswith("on 20 images")
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        difference(Fixed(), lambda own: own, torch.rand(3, 2))


def test_a_surrounding_inference_mode_does_not_hide_gradients(model):
    with torch.inference_mode():
        found = difference(model, lambda own: lambda x: own(x).detach(), IMAGES * 1)
    assert found == "on 3 images its halves and the model give different gradients"
