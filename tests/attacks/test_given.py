"""What people give to an attack: models, numbers and images of other types end in the right value or in a sentence."""

import math
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from causalnb import UserError, data, models
from causalnb.attacks import evaluate, run, sanity_panel
from causalnb.attacks.suites import Step

IMAGES = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
FILE = Path(__file__).open()  # noqa: SIM115
SUITE = [
    Step("pgd", {"step": 0.01, "steps": 5}),
    Step("deepfool", {"steps": 5}),
    Step("apgd-ce", {"steps": 5}),
    Step("square", {"queries": 20, "rescale": True}),
]


class Net(nn.Module):
    """A small network; `held` is something that cannot be copied."""

    def __init__(self, held=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.norm, self.last = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 5)
        self.held = held
        self.eval()

    def forward(self, images):
        return self.last(torch.relu(self.norm(self.conv(images))).flatten(1))


LABELS = Net()(IMAGES).argmax(dim=1)


def evaluated(model, images=IMAGES, labels=LABELS, **given):
    return evaluate(model, images, labels, **{"norm": "linf", "eps": 0.02, "suite": SUITE, "seed": 0} | given)


def same(one, other):
    return torch.equal(one.robust, other.robust) and torch.equal(one.images, other.images)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_another_type_is_attacked_in_its_own(kind):
    model = Net().to(kind)
    labels = model(IMAGES.to(kind)).argmax(dim=1)
    made = evaluated(model, labels=labels)
    assert made.correct.all() and made.images.dtype == torch.float32 and 0 < int(made.robust.sum()) < 10
    assert torch.equal(model(made.images.to(kind)).argmax(dim=1) == labels, made.robust)
    assert next(model.parameters()).dtype == kind
    assert sanity_panel(model, IMAGES, labels, eps=0.1, steps=10).n == 10


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("stop", [False, True])
def test_images_of_another_type_are_attacked_too(kind, stop):
    given = {"norm": "linf", "eps": 0.02, "step": 0.01, "steps": 5, "seed": 0}
    made = run("pgd", Net(), IMAGES.to(kind), LABELS, stop=stop, **given)
    assert made.images.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    assert torch.equal(Net()(made.images.float()).argmax(dim=1) != LABELS, made.found | ~made.correct)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("stop", [False, True])
def test_a_search_in_a_model_of_another_type_may_end_at_a_success(kind, stop):
    model = Net().to(kind)
    labels = model(IMAGES.to(kind)).argmax(dim=1)
    given = {"norm": "linf", "eps": 0.05, "step": 0.01, "steps": 5, "seed": 0}
    made = run("pgd", model, IMAGES, labels, stop=stop, **given)
    assert made.correct.all() and made.images.dtype == torch.float32 and int(made.found.sum()) > 0
    assert torch.equal(model(made.images.to(kind)).argmax(dim=1) != labels, made.found)


@pytest.mark.parametrize("eps", [np.float64(0.02), Fraction(1, 50), np.array(0.02), Decimal("0.02")])
def test_a_budget_may_be_any_kind_of_number(eps):
    assert same(evaluated(Net(), eps=eps), evaluated(Net()))


@pytest.mark.parametrize("eps", [1e400, 10**400, math.nan, "0.1", True, None, [0.1], Fraction(10**400)])
def test_what_is_no_budget_is_one_sentence(eps):
    with pytest.raises((UserError, ValueError), match="^eps = .{1,82} is not possible: ") as said:
        evaluated(Net(), eps=eps)
    assert len(str(said.value).splitlines()) == 1


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), Fraction(3), torch.tensor(3), 3.0])
def test_a_seed_may_be_any_kind_of_whole_number(seed):
    assert same(evaluated(Net(), seed=seed), evaluated(Net(), seed=3))


@pytest.mark.parametrize("seed", [10**30, -1, 2**63, 1.5, "3", None, math.inf, math.nan, [1, 2]])
def test_what_is_no_seed_is_one_sentence_everywhere(seed):
    some = data.Images("toy", "test", IMAGES, LABELS, tuple("abcde"), "")
    for asked in (
        lambda: evaluated(Net(), seed=seed),
        lambda: data.draw(some, 2, seed=seed),
        lambda: models.build("lenet", classes=2, channels=1, size=12, seed=seed),
        lambda: sanity_panel(Net(), IMAGES, LABELS, eps=0.1, seed=seed),
    ):
        with pytest.raises(UserError, match="^seed = .* is not possible: give a whole number from 0 below"):
            asked()


@pytest.mark.parametrize("steps", [np.int64(5), Fraction(5), 5.0, np.float32(5)])
def test_steps_may_be_any_kind_of_whole_number(steps):
    given = {"norm": "linf", "eps": 0.02, "seed": 0}
    made = run("pgd", Net(), IMAGES, LABELS, steps=steps, step=Fraction(1, 100), **given)
    assert torch.equal(
        made.images, run("pgd", Net(), IMAGES, LABELS, steps=5, step=0.01, **given).images
    ) and isinstance(made.settings["steps"], int)
    with pytest.raises(ValueError, match="steps = 2.5 is not possible for pgd: it is a whole number"):
        run("pgd", Net(), IMAGES, LABELS, steps=2.5, step=0.01, **given)


def test_arrays_and_lists_are_images_and_labels():
    expected = evaluated(Net())
    for images, labels in (
        (IMAGES.numpy(), LABELS.numpy()),
        (IMAGES.numpy()[::-1][::-1], LABELS.int().numpy()),
        (IMAGES, LABELS.tolist()),
    ):
        assert same(evaluated(Net(), images, labels), expected)
    made = evaluated(Net(), IMAGES.tolist(), LABELS.tolist())
    assert made.correct.all() and made.images.dtype == torch.float64
    some = data.Images("toy", "test", IMAGES.tolist(), LABELS.int().numpy(), tuple("abcde"), "")
    assert torch.equal(some.images, IMAGES) and torch.equal(some.labels, LABELS)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Linear(3, 2))
    head, tail = models.cut(net, "1", IMAGES.numpy())
    assert torch.equal(tail(head(IMAGES)), net(IMAGES))


@pytest.mark.parametrize("images", [[[0.1], [0.2, 0.3]], "cat", None, [["a"]], object()])
def test_what_is_no_array_is_a_sentence(images):
    with pytest.raises(
        (UserError, ValueError), match="^images (cannot become a tensor|must be floating point)"
    ):
        evaluated(Net(), images)
    with pytest.raises(UserError, match="^toy: "):
        data.Images("toy", "test", images, LABELS, tuple("abcde"), "")


@pytest.mark.parametrize("flat", [False, True])
def test_one_logit_is_a_sentence_that_says_how_to_give_two(flat):
    last = nn.Linear(64, 1)
    model = nn.Sequential(nn.Flatten(), last, nn.Flatten(0)) if flat else nn.Sequential(nn.Flatten(), last)
    labels = torch.zeros(10, dtype=torch.int64)
    with pytest.raises(
        UserError, match=r"gives one number for each image .* torch.stack\(\[-z, z\], dim=1\) / 2"
    ):
        evaluated(model, labels=labels)


def test_a_model_that_squeezes_is_attacked_down_to_the_last_image():
    class Squeezing(Net):
        def forward(self, images):
            return super().forward(images).squeeze()

    assert same(evaluated(Squeezing()), evaluated(Net()))
    alone = evaluated(Squeezing(), IMAGES[:1], LABELS[:1])
    assert same(alone, evaluated(Net(), IMAGES[:1], LABELS[:1]))


def test_inside_inference_mode_is_as_outside():
    expected, model = evaluated(Net()), Net()
    with torch.inference_mode():
        for images, labels in ((IMAGES, LABELS), (IMAGES.clone(), LABELS.clone())):
            assert same(evaluated(model, images, labels), expected)
            assert sanity_panel(model, images, labels, eps=0.1, steps=10).n == 10
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Linear(3, 2))
        assert models.layers(Net()) and torch.is_inference_mode_enabled()
    with torch.inference_mode():
        head, tail = models.cut(model, "last", IMAGES.clone())
        made = Net()
        with pytest.raises(UserError, match="The model was made or loaded inside torch.inference_mode"):
            evaluated(made)
    assert torch.equal(tail(head(IMAGES)), model(IMAGES)) and net is not None
    with pytest.raises(UserError, match="The model was made or loaded inside torch.inference_mode"):
        evaluated(made)


@pytest.mark.parametrize("compiled", [torch.jit.script, lambda net: torch.jit.trace(net, IMAGES)])
def test_a_compiled_module_is_attacked_and_that_it_cannot_be_cut_is_true(compiled):
    model = compiled(Net())
    assert torch.equal(evaluated(model).robust, evaluated(Net()).robust)
    for asked in (lambda: models.cut(model, "last"), lambda: models.layers(model)):
        with pytest.raises(
            UserError, match="torch.jit scripted or traced cannot be cut: .* cut the module that"
        ):
            asked()


@pytest.mark.parametrize("held", [threading.Lock(), math, FILE], ids=["lock", "module", "file"])
def test_a_model_that_holds_what_cannot_be_copied_is_attacked(held):
    model = Net(held)
    assert same(evaluated(model), evaluated(Net()))
    panel = {row.name: row for row in sanity_panel(model, IMAGES, LABELS, eps=0.1, steps=10)}
    row = panel["finite differences agree"]
    assert row.word == "not applicable" and "has no copy in float64: cannot pickle" in row.sentence
    with pytest.raises(
        UserError, match="a copy of the model cannot be made .*keep this object outside of it"
    ):
        models.cut(model, "last", IMAGES)


def test_a_lock_that_a_forward_pass_makes_is_a_sentence_too():
    class Late(Net):
        def forward(self, images):
            self.held = threading.Lock()
            return super().forward(images)

    model = Late()
    head, _ = models.cut(model, "last")
    model(IMAGES)
    with pytest.raises(UserError, match="cannot be cut|a copy of the model cannot be made"):
        models.cut(model, "last", IMAGES)
    with pytest.raises(UserError, match="cannot be cut|a copy of the model cannot be made"):
        head(IMAGES)
