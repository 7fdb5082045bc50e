"""What pyautoattack does when it is called directly, and that it does the same behind the contract without
its traces.
"""

import sys

import pytest
import torch
from pyautoattack import AutoAttack, checks
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import nn

from causalnb import UserError
from causalnb.attacks import run
from causalnb.chapters.bench.conformance.cases import linear

NORMS = [("linf", "Linf", 0.05), ("l2", "L2", 0.3)]


def direct(name, model, images, labels, norm, eps):
    """The library alone: its images, on images that the model gets right."""
    common = {"norm": norm, "eps": eps, "seed": 3, "device": "cpu"}
    attack = {
        "apgd-ce": lambda: APGDAttack(model, n_iter=10, loss="ce", **common),
        "apgd-dlr": lambda: APGDAttack(model, n_iter=10, loss="dlr", **common),
        "apgd-t": lambda: APGDAttack_targeted(model, n_iter=10, n_target_classes=4, **common),
        "fab-t": lambda: FABAttack_PT(model, n_iter=5, targeted=True, n_target_classes=4, **common),
        "square": lambda: SquareAttack(model, n_queries=60, resc_schedule=True, **common),
    }[name]()
    with torch.random.fork_rng(devices=[]):
        return attack.perturb(images, labels).detach()


OURS = {
    "apgd-ce": {"steps": 10},
    "apgd-dlr": {"steps": 10},
    "apgd-t": {"steps": 10},
    "fab-t": {"steps": 5},
    "square": {"queries": 60, "rescale": True},
}


@pytest.fixture
def ten():
    """Ten classes, twelve images of which two are clean errors."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(2)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 10)).eval()
        images = (torch.rand(12, 1, 6, 6) * 1.6 - 0.3).clamp(0, 1)
        model[3].bias -= model(images).mean(dim=0)
        labels = model(images).argmax(dim=1)
        labels[:2] = (labels[:2] + 1) % 10
    return model, images, labels


class Random(nn.Module):
    """Another model with noise on its logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        logits = self.model(images)
        return logits + 1e-3 * torch.randn_like(logits)


@pytest.mark.parametrize("norm, theirs, eps", NORMS)
@pytest.mark.parametrize("name", OURS)
def test_the_part_finds_what_the_library_finds_image_for_image(small, name, norm, theirs, eps):
    model, right = small.model.eval(), slice(4, None)
    expected = direct(name, model, small.images[right], small.labels[right], theirs, eps)
    broken = model(expected).argmax(dim=1) != small.labels[right]
    result = run(name, model, small.images, small.labels, norm=norm, eps=eps, seed=3, **OURS[name])
    assert torch.equal(result.found[right], broken) and 3 < broken.sum() < 20
    assert torch.allclose(result.images[right][broken], expected[broken], atol=1e-6)


def test_a_restart_is_the_library_with_the_next_seed_on_what_is_left(small):
    settings = {"norm": "linf", "eps": 0.05, "queries": 30, "rescale": True}
    first = run("square", small.model, small.images, small.labels, seed=0, **settings)
    both = run("square", small.model, small.images, small.labels, seed=0, restarts=2, **settings)
    left = first.correct & ~first.found
    second = run("square", small.model, small.images[left], small.labels[left], seed=1, **settings)
    assert (
        torch.equal(both.found[left], second.found)
        and torch.equal(both.images[left], second.images)
        and second.found.any()
    )


def test_fab_without_a_budget_is_never_farther_than_its_first_target_and_is_the_least_of_all(small):
    free = run("fab-t", small.model, small.images, small.labels, norm="l2", eps=None, steps=5, seed=0)
    first = run(
        "fab-t", small.model, small.images, small.labels, norm="l2", eps=None, steps=5, n_targets=1, seed=0
    )
    assert free.found[4:].all() and (free.distance[4:] <= first.distance[4:].nan_to_num(torch.inf)).all()
    assert (free.distance[4:] < first.distance[4:].nan_to_num(torch.inf)).any()


def test_fab_without_a_budget_takes_an_unbroken_float64_image_for_no_success():
    """In float32 a clean image lies 1e-7 away from itself, nearer than any success; the far classes leave
    images unbroken.
    """
    subject = linear(4)
    result = run("fab-t", subject.model, subject.images, subject.labels, norm="l2", eps=None, steps=5, seed=0)
    assert result.found.all() and torch.allclose(result.distance, subject.exact["l2"], rtol=0.02)


@pytest.mark.parametrize("norm, theirs, eps", [("linf", "Linf", 0.08), ("l2", "L2", 0.4)])
def test_autoattack_is_the_library_s_standard_evaluation(ten, norm, theirs, eps):
    model, images, labels = ten
    with torch.random.fork_rng(devices=[]):
        trace = sys.gettrace()
        expected, _ = AutoAttack(model, norm=theirs, eps=eps, seed=3, device="cpu").run_standard_evaluation(
            images[2:], labels[2:], batch_size=10
        )
        sys.settrace(trace)
    broken = model(expected).argmax(dim=1) != labels[2:]
    result = run("autoattack", model, images, labels, norm=norm, eps=eps, seed=3)
    assert torch.equal(result.found[2:], broken) and broken.sum() > 3 and result.flags == ()
    assert torch.allclose(result.images[2:][broken], expected[broken], atol=1e-6)


def test_a_model_that_draws_is_flagged_and_the_next_one_that_does_not_is_not(ten):
    model, images, labels = ten
    drawn = run("autoattack", Random(model).eval(), images, labels, norm="linf", eps=0.5, seed=0)
    assert [flag for flag in drawn.flags if flag.startswith("autoattack: ")] and any(
        "random" in flag for flag in drawn.flags
    )
    assert run("autoattack", model, images, labels, norm="linf", eps=0.5, seed=0).flags == ()


class Optimises(nn.Module):
    """Another model that takes a gradient of its own in every pass."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        with torch.enable_grad():
            own = images.detach().clone().requires_grad_()
            torch.autograd.grad(own.sum(), own)
        return self.model(images)


def test_the_library_takes_a_static_model_for_a_dynamic_one_after_a_dynamic_one_and_we_do_not(ten):
    model, images, labels = ten
    dynamic = run("autoattack", Optimises(model).eval(), images, labels, norm="linf", eps=0.5, seed=0)
    assert any("dynamic" in flag for flag in dynamic.flags)
    assert any(checks.funcs.values())  # counted for the whole process, and never set back by the library
    assert run("autoattack", model, images, labels, norm="linf", eps=0.5, seed=0).flags == ()


def test_the_library_drops_the_trace_function_and_we_put_it_back(ten):
    model, images, labels = ten

    def trace(frame, event, argument):
        return None

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        run("autoattack", model, images, labels, norm="linf", eps=0.5, seed=0)
        kept = sys.gettrace()
        checks.check_dynamic(model, images[:2], False)
        dropped = sys.gettrace()
    finally:
        sys.settrace(before)
    assert kept is trace and dropped is None


def test_the_library_sets_the_global_generator_and_we_put_it_back(small):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(
        "square",
        small.model,
        small.images,
        small.labels,
        norm="linf",
        eps=0.05,
        queries=20,
        rescale=True,
        seed=0,
    )
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        draws = []
        for outer in (5, 6):
            torch.manual_seed(outer)
            SquareAttack(small.model, norm="Linf", n_queries=20, eps=0.05, seed=0, device="cpu").perturb(
                small.images, small.labels
            )
            draws.append(torch.rand(1).item())
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    "name, settings, classes, sentence",
    [
        (
            "square",
            {"queries": 300, "rescale": False},
            5,
            "queries = 300 is not possible with rescale=False: below 5000 queries Square's squares would "
            "stay too large.",
        ),
        ("autoattack", {}, 5, "autoattack needs 10 classes or more, the model has 5: "),
        ("apgd-dlr", {"steps": 5}, 2, "apgd-dlr needs 3 classes or more, the model has 2: "),
        ("apgd-t", {"steps": 5}, 3, "apgd-t needs 4 classes or more, the model has 3: "),
    ],
)
def test_what_the_library_would_do_wrongly_is_refused(small, name, settings, classes, sentence):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, classes)).eval()
    labels = model(small.images).argmax(dim=1)
    with pytest.raises(UserError) as caught:
        run(name, model, small.images, labels, norm="linf", eps=0.05, seed=0, **settings)
    assert str(caught.value).startswith(sentence)


def test_another_version_of_autoattack_is_refused(ten):
    model, images, labels = ten
    with pytest.raises(
        ValueError, match="version = 'plus' is not possible: AutoAttack here is standard or rand."
    ):
        run("autoattack", model, images, labels, norm="linf", eps=0.1, seed=0, version="plus")
