import pytest
import torch

from causalnb.chapters.ace import propagation
from causalnb.chapters.ace.interventions import blocks, intervene
from causalnb.models import lenet

VARIANTS = ["relu-max", "tanh-average"]
BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5}


def network(variant="relu-max", dtype=torch.float64, **shape):
    model = lenet(variant=variant, **shape).to(dtype)
    for parameter in model.parameters():
        parameter.data *= 3
    return model


def images(n, channels=1, size=28, dtype=torch.float64):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0)).to(dtype)


def naive(model, rows, alphas, pixels):
    changed = rows.flatten(1)[:, None, None].repeat(1, len(pixels), len(alphas), 1)
    for place, pixel in enumerate(pixels):
        changed[:, place, :, pixel] = alphas
    with torch.no_grad():
        return model(changed.view(-1, *rows.shape[1:])).view(len(rows), len(pixels), len(alphas), -1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_propagation_is_the_whole_network_at_random_pixels_corners_and_borders(variant, dtype):
    model, rows, alphas = (
        network(variant, dtype),
        images(3, dtype=dtype),
        torch.tensor([0.0, 0.3, 1.0], dtype=dtype),
    )
    borders = [0, 27, 756, 783, 13, 28 * 14, 28 * 14 + 27, 756 + 9, 1, 28, 29, 26, 55, 754, 728]
    pixels = torch.tensor(
        borders + torch.randperm(784, generator=torch.Generator().manual_seed(1))[:40].tolist()
    )
    found = intervene(model, rows, alphas, pixels=pixels, method="propagate")
    assert (found - naive(model, rows, alphas, pixels)).abs().max() < BOUNDS[dtype] * found.abs().max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_pixel_of_a_small_image_is_right(variant):
    model, rows, alphas = (
        network(variant, size=12),
        images(2, size=12),
        torch.tensor([0.5], dtype=torch.float64),
    )
    found = intervene(model, rows, alphas, method="propagate")
    assert (found - naive(model, rows, alphas, torch.arange(144))).abs().max() < 1e-12


def test_each_channel_of_a_colour_image_is_an_input_of_its_own():
    model, rows, alphas = (
        network(channels=3, size=16),
        images(2, channels=3, size=16),
        torch.tensor([0.0, 1.0], dtype=torch.float64),
    )
    pixels = torch.tensor([0, 255, 256, 300, 700, 767])
    assert (
        intervene(model, rows, alphas, pixels=pixels, method="propagate") - naive(model, rows, alphas, pixels)
    ).abs().max() < 1e-12


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_images_own_values_give_exactly_the_images_own_logits(variant):
    model, rows = network(variant, torch.float32), images(4, dtype=torch.float32)
    for block in blocks(model, rows, rows.flatten(1)[..., None]):
        assert torch.equal(block.logits, block.natural[:, None, None].expand_as(block.logits))


def test_pieces_change_nothing_but_the_memory(monkeypatch):
    model, rows, alphas = network(), images(5), torch.linspace(0, 1, 3, dtype=torch.float64)
    pixels = torch.tensor([0, 1, 400])
    whole, chunks = (intervene(model, rows, alphas, pixels=pixels, chunk=chunk) for chunk in (10_000, 1))
    monkeypatch.setattr(propagation, "TOGETHER", 2)
    parts = intervene(model, rows, alphas, pixels=pixels)
    assert (whole - chunks).abs().max() < 1e-12 and (whole - parts).abs().max() < 1e-12
