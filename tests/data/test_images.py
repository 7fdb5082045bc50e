"""The record of images refuses what would make a plausible wrong number."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalnb import UserError
from causalnb.data import Images
from causalnb.training import Recipe, accuracy, cross_entropy, fit

few = settings(max_examples=60, deadline=None, derandomize=True)


def images(n=6):
    pixels = torch.linspace(0, 1, n * 4).reshape(n, 1, 2, 2)
    return Images("mine", "test", pixels, torch.arange(n) % 3, ("a", "b", "c"), "d", {"k": torch.arange(n)})


WRONG = {
    "fewer labels": (lambda one, k: {"labels": one.labels[: k % 6]}, "do not belong together"),
    "more labels": (lambda one, k: {"labels": torch.zeros(7 + k).long()}, "do not belong together"),
    "one label": (lambda one, k: {"labels": torch.tensor(k % 3)}, "do not belong together"),
    "a column of labels": (lambda one, k: {"labels": one.labels[:, None]}, "do not belong together"),
    "labels of another kind": (
        lambda one, k: {
            "labels": one.labels.to([torch.float32, torch.bool, torch.uint8, torch.complex64][k % 4])
        },
        "give one int64 label for each image",
    ),
    "a label too high": (
        lambda one, k: {"labels": one.labels + (one.labels == 2) * (1 + k)},
        "there are 3 classes: give labels from 0 to 2",
    ),
    "a label below 0": (lambda one, k: {"labels": one.labels - 1 - k}, "labels reach from -"),
    "0 to 255": (lambda one, k: {"images": one.images * 255}, "divide 8-bit pixels by 255"),
    "0 to 65535": (lambda one, k: {"images": one.images * 65535}, "16-bit ones by 65535"),
    "normalised": (lambda one, k: {"images": one.images - 0.1 - k}, "keep normalisation inside the model"),
    "a pixel just outside": (
        lambda one, k: {"images": one.images.clone().index_fill(0, torch.tensor(k % 6), 1.001)},
        "and must lie in",
    ),
    "no number": (
        lambda one, k: {
            "images": one.images.clone().index_fill(
                0, torch.tensor(k % 6), [math.nan, math.inf, -math.inf][k % 3]
            )
        },
        "remove what is no number",
    ),
    "whole numbers": (
        lambda one, k: {"images": (one.images * 255).to([torch.uint8, torch.int64, torch.int32][k % 3])},
        "must be floating point",
    ),
    "bool": (lambda one, k: {"images": one.images > 0.5}, "must be floating point"),
    "complex": (lambda one, k: {"images": one.images.to(torch.complex64)}, "must be floating point"),
    "no channels": (lambda one, k: {"images": one.images[:, 0]}, r"floating point \[n, channels"),
}
RIGHT = {
    "as it is": lambda one, k: {},
    "rounded outside": lambda one, k: {"images": one.images * (1 + 5e-7)},
    "64 bits": lambda one, k: {"images": one.images.double()},
    "other classes": lambda one, k: {"labels": one.labels.roll(k)},
    "none": lambda one, k: {"images": one.images[:0], "labels": one.labels[:0], "factors": {}},
}


@few
@given(st.sampled_from(sorted(WRONG)), st.integers(0, 300))
def test_images_and_labels_of_another_shape_kind_or_scale_are_refused(how, k):
    change, said = WRONG[how]
    with pytest.raises(UserError, match=f"^mine: .*{said}.*\\.$"):
        replace(images(), **change(images(), k))


@few
@given(st.sampled_from(sorted(RIGHT)), st.integers(0, 300))
def test_what_is_right_is_taken_as_it_is(how, k):
    change = RIGHT[how](images(), k)
    made = replace(images(), **change)
    assert all(getattr(made, name) is value for name, value in change.items())


def test_a_factor_has_a_value_for_each_image():
    with pytest.raises(ValueError, match="factor k has 5 values for 6 images"):
        replace(images(), factors={"k": torch.arange(5)})


@pytest.mark.parametrize("labels", [torch.zeros(5).long(), torch.zeros(6), torch.zeros(0).long()])
def test_a_training_and_an_accuracy_take_one_label_for_each_image(labels):
    """Whatever is given as data: what looks like the record is not one."""
    data, model = SimpleNamespace(name="mine", images=images().images, labels=labels), nn.Flatten()
    for use in (lambda: fit(model, data, cross_entropy, Recipe(epochs=1)), lambda: accuracy(model, data)):
        with pytest.raises(UserError, match="mine: 6 images and labels .* do not belong together"):
            use()


def test_a_training_and_an_accuracy_need_an_image():
    none = images().take(slice(0, 0))
    for use in (
        lambda: fit(nn.Flatten(), none, cross_entropy, Recipe(epochs=1)),
        lambda: accuracy(nn.Flatten(), none),
    ):
        with pytest.raises(UserError, match="mine: 0 images .* and at least 1 of them"):
            use()
