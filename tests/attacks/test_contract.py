import random
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from causalnb import UserError
from causalnb.attacks import ATTACKS, run

PGD = {"norm": "linf", "eps": 0.1, "step": 0.03, "steps": 10, "seed": 0}


class Constant(nn.Module):
    """A model that nothing moves: class 0 for every image."""

    def forward(self, images):
        return torch.tensor([1.0, 0.4, 0.3, 0.2, 0.1]).expand(len(images), 5) + 0 * images.flatten(1).sum(
            dim=1, keepdim=True
        )


class Shifted(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images) + 50


class Counts(nn.Module):
    """Changes a buffer at every pass and breaks at the third."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, images):
        self.passes += 1
        if self.passes == 3:
            raise RuntimeError("the third pass")
        torch.rand(1), np.random.rand(), random.random()
        return self.model(images)


def able(ability):
    return " and ".join(name for name, attack in ATTACKS.items() if getattr(attack, ability))


def result_of(small, attack, **changed):
    name, settings = attack
    return run(name, small.model, small.images, small.labels, seed=0, **settings | changed)


def state_of(model):
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "modes": [module.training for module in model.modules()],
        "grads": [parameter.grad for parameter in model.parameters()],
        "required": [parameter.requires_grad for parameter in model.parameters()],
        "buffers": [buffer.tolist() for buffer in model.buffers()],
        "identities": [id(value) for value in (*model.parameters(), *model.buffers())],
        "enabled": torch.is_grad_enabled(),
        "trace": sys.gettrace(),
    }


def test_an_image_s_result_is_the_same_alone_in_any_batch_and_in_any_order(small, lone):
    name, settings = lone
    whole = result_of(small, lone)
    for rows in [7], [3, 7, 20], [7, 3], list(range(23, -1, -1)), list(range(5, 24)):
        part = run(name, small.model, small.images[rows], small.labels[rows], seed=0, **settings)
        for what in ("images", "found", "correct", "predicted", "distance"):
            assert torch.equal(
                getattr(part, what).nan_to_num(-1), getattr(whole, what)[rows].nan_to_num(-1)
            ), (rows, what)


def test_the_chunk_changes_nothing(small, lone):
    whole = result_of(small, lone)
    for chunk in (5, 16):
        assert torch.equal(result_of(small, lone, chunk=chunk).images, whole.images)


def test_the_same_seed_and_order_give_the_same_images(small, attack):
    first = result_of(small, attack).images
    torch.manual_seed(99)
    assert torch.equal(result_of(small, attack).images, first)


def test_all_state_is_as_it_was(small, attack):
    small.model.train()
    small.model[1].eval()
    small.model[5].bias.requires_grad_(False)
    small.model[5].weight.grad = torch.ones(5, 64)
    before = state_of(small.model)
    with torch.no_grad():
        assert result_of(small, attack).correct.sum() == 20
    assert state_of(small.model) == before


def test_all_state_is_as_it_was_after_an_exception(small, attack):
    model, (name, settings) = Counts(small.model), attack
    small.model.train()
    before = state_of(model)
    with pytest.raises(RuntimeError, match="the third pass"):
        run(name, model, small.images, small.labels, seed=0, **settings)
    assert state_of(model) == before


def test_the_attacked_model_is_in_eval_mode_whatever_it_was(small, attack):
    still = result_of(small, attack)
    small.model.train()
    assert torch.equal(result_of(small, attack).images, still.images)


def test_a_constant_added_to_the_logits_changes_no_verdict(small, attack):
    plain = result_of(small, attack)
    name, settings = attack
    shifted = run(name, Shifted(small.model).eval(), small.images, small.labels, seed=0, **settings)
    assert abs(shifted.robust_accuracy[0] - plain.robust_accuracy[0]) <= 1
    assert plain.success_among_correct[0] >= 5


def test_a_failure_is_the_clean_image_and_a_success_is_another_class_in_a_fresh_pass(small, attack):
    result = result_of(small, attack)
    predicted = small.model(result.images).argmax(dim=1)
    assert torch.equal(result.images[~result.found], small.images[~result.found])
    assert result.distance[~result.found].isnan().all() and result.distance[result.found].isfinite().all()
    assert torch.equal(predicted, result.predicted)
    assert torch.equal(
        predicted[result.correct] != small.labels[result.correct], result.found[result.correct]
    )


def test_clean_errors_are_not_attacked_and_counted_apart(small, attack):
    result = result_of(small, attack)
    broken = int(result.found.sum())
    assert result.correct.tolist() == [False] * 4 + [True] * 20 and not result.found[:4].any()
    assert result.success_among_correct == (broken, 20)
    assert result.success_among_all == (broken + 4, 24)
    assert result.robust_accuracy == (20 - broken, 24)


@pytest.mark.parametrize(
    "name", ["fgsm", "bim", "pgd", "cw-linf", "deepfool", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t"]
)
@pytest.mark.parametrize("norm, eps", [("linf", 8 / 255), ("linf", 0.3), ("l2", 0.3), ("l2", 2.0)])
def test_ball_and_box_hold_in_float64(small, name, norm, eps):
    settings = {"fgsm": {}} | dict.fromkeys(("bim", "pgd", "cw-linf"), {"step": eps / 3, "steps": 7})
    result = run(
        name,
        small.model,
        small.images,
        small.labels,
        norm=norm,
        eps=eps,
        seed=0,
        **settings.get(name, {"steps": 7}),
    )
    change = (result.images.double() - small.images.double()).flatten(1)
    size = change.abs().amax(dim=1) if norm == "linf" else change.norm(dim=1)
    assert result.found.sum() > 3 and size.max() <= eps + (0 if norm == "linf" else 1e-12)
    assert result.images.min() >= 0 and result.images.max() <= 1
    assert torch.allclose(result.distance[result.found], size[result.found])


def test_a_budget_of_nothing_returns_the_clean_images(small, attack):
    result = result_of(small, attack, eps=0.0)
    assert torch.equal(result.images, small.images) and not result.found.any()


def test_a_larger_budget_more_steps_and_more_restarts_never_save_an_image(small):
    def broken(**changed):
        return run(
            "pgd", small.model, small.images, small.labels, **PGD | {"eps": 0.05, "step": 0.01} | changed
        ).found

    for weaker, stronger in (
        ({"eps": 0.02}, {"eps": 0.05}),
        ({"steps": 2}, {"steps": 9}),
        ({"steps": 1}, {"steps": 1, "restarts": 4}),
    ):
        assert (broken(**stronger) | ~broken(**weaker)).all() and broken(**stronger).sum() > broken(
            **weaker
        ).sum()


def test_an_iterate_that_succeeded_is_kept_when_the_last_one_does_not():
    class Island(nn.Module):
        """Class 1 only for a sum of pixels between 1.0 and 1.2: long steps of ascent pass over it."""

        def forward(self, images):
            total = images.flatten(1).sum(dim=1)
            return torch.stack([0.1 - total, torch.where((total > 1.0) & (total < 1.2), 9.0, -9.0)], dim=1)

    result = run(
        "pgd",
        Island(),
        torch.full((1, 1, 2, 2), 0.01),
        torch.tensor([0]),
        norm="linf",
        eps=0.9,
        step=0.03,
        steps=60,
        seed=3,
    )
    assert result.found.item() and 1.0 < result.images.sum() < 1.2


@pytest.mark.parametrize("name", ["bim", "pgd", "cw-linf", "transfer"])
def test_a_path_too_short_to_cross_the_ball_is_flagged(small, name):
    source = {"source": small.model} if name == "transfer" else {}

    def flags(**changed):
        return run(name, small.model, small.images, small.labels, **PGD | source | changed).flags

    assert flags(steps=6, step=0.1 / 30) == (
        "short path: steps x step = 0.02 cannot cross the ball, 2 eps = 0.2",
    )
    assert len(flags(steps=19, step=0.01)) == 1 and flags(steps=20, step=0.01) == ()


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if attack.targeted])
def test_success_means_that_the_target_is_reached(small, name):
    targets = (small.labels + 1) % 5
    settings = {"norm": "l2", "eps": 0.8, "step": 0.1, "steps": 40} | {
        "cw": {"eps": None, "binary_search_steps": 3, "initial_const": 1.0},
        "ddn": {"eps": None, "step": None},
        "stadv": {"norm": "flow", "eps": 0.4},
        "hsj": {"eps": None, "step": None, "steps": 1, "directions": 20},
        "transfer": {"source": small.model},
        "fgsm": {"eps": 1.5, "step": None, "steps": None},
    }.get(name, {})
    result = run(name, small.model, small.images, small.labels, targets=targets, seed=0, **settings)
    assert (
        result.found.sum() > 5
        and (small.model(result.images).argmax(dim=1)[result.found] == targets[result.found]).all()
    )
    aimless = run(name, small.model, small.images, small.labels, seed=0, **settings)
    assert (
        result.success_among_correct[0] < aimless.success_among_correct[0]
        or aimless.distance.nanmean() < result.distance.nanmean()
    )
    assert result.success_among_all[0] == int((small.model(result.images).argmax(dim=1) == targets).sum())


def test_a_nan_in_one_image_spoils_only_that_image(small, attack):
    name, settings = attack
    others = [row for row in range(24) if row != 9]
    without = run(name, small.model, small.images[others], small.labels[others], seed=0, **settings)
    small.images[9, 0, 2, 2] = torch.nan
    result = result_of(small, attack)
    assert torch.equal(result.images[others], without.images) and torch.equal(
        result.found[others], without.found
    )
    assert not result.found[9] and not result.correct[9] and result.images[9].isnan().sum() == 1
    assert result.flags == ("pixels not finite: 1 images were not attacked",)


def test_a_model_that_nothing_moves_is_never_broken_and_no_image_turns_black(attack):
    name, settings = attack
    images = torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2
    result = run(name, Constant(), images, torch.zeros(6, dtype=torch.int64), seed=0, **settings)
    assert (
        result.success_among_correct == (0, 6)
        and torch.equal(result.images, images)
        and result.distance.isnan().all()
    )
    assert "constant outputs: the model gives every image the same logits" in result.flags
    assert not result.images.requires_grad


def test_queries_count_the_images_that_went_forward_and_backward(small):
    def queries(name, **settings):
        return run(name, small.model, small.images, small.labels, seed=0, **settings).queries

    assert queries("fgsm", norm="linf", eps=0.01) == (20, 20)
    assert queries("pgd", norm="linf", eps=1e-6, step=1e-6, steps=7, restarts=3) == (420, 420)
    assert queries(
        "cw", norm="l2", eps=None, step=0.01, steps=5, binary_search_steps=2, initial_const=1.0
    ) == (200, 200)
    assert queries("ddn", norm="l2", eps=None, steps=6) == (120, 120)
    assert queries("apgd-ce", norm="linf", eps=1e-6, steps=6) == (160, 140)
    assert queries("stadv", norm="flow", eps=1e-6, step=1e-6, steps=6) == (140, 120)
    assert queries("noise", norm="linf", eps=0.01, kind="sign") == (0, 0)


def test_within_judges_the_minimum_norm_at_a_budget(small):
    free = run(
        "cw",
        small.model,
        small.images,
        small.labels,
        norm="l2",
        eps=None,
        step=0.05,
        steps=30,
        binary_search_steps=3,
        initial_const=1.0,
        seed=0,
    )
    middle = float(free.distance.nanmedian())
    near = free.within(middle)
    assert 0 < near.success_among_correct[0] < free.success_among_correct[0]
    assert (near.distance[near.found] <= middle + 1e-6).all() and torch.equal(
        near.images[~near.found], small.images[~near.found]
    )
    assert torch.equal(near.predicted, small.model(near.images).argmax(dim=1))
    asked = run(
        "cw",
        small.model,
        small.images,
        small.labels,
        norm="l2",
        eps=middle,
        step=0.05,
        steps=30,
        binary_search_steps=3,
        initial_const=1.0,
        seed=0,
    )
    assert torch.equal(asked.images, near.images) and torch.equal(asked.found, near.found)
    with pytest.raises(ValueError, match=r"this cw searched within eps = 0\.\d+: at 3.0 it says nothing\."):
        asked.within(3.0)


def test_the_settings_of_the_result_hold_every_number_that_shaped_it(small):
    assert run("pgd", small.model, small.images, small.labels, **PGD).settings == {
        "restarts": 1,
        "step": 0.03,
        "steps": 10,
        "seed": 0,
        "chunk": 128,
    }
    assert repr(replace(run("pgd", small.model, small.images, small.labels, **PGD), flags=())).startswith(
        "AttackResult(pgd, linf, eps=0.1: "
    )


def test_pixels_outside_the_box_by_rounding_are_clipped_and_by_more_are_refused(small):
    small.images[2, 0, 1, 3] = 1 + 9e-7
    small.images[3, 0, 0, 0] = -1e-7
    result = run("pgd", small.model, small.images, small.labels, **PGD)
    assert result.images.min() >= 0 and result.images.max() <= 1
    with pytest.raises(
        UserError,
        match=r"^images\[2, 0, 1, 3\] = 2\.5 lies outside \[0, 1\] \(these images reach from -1e-07 to "
        r"2\.5\): give",
    ):
        small.images[2, 0, 1, 3] = 2.5
        run("pgd", small.model, small.images, small.labels, **PGD)


def test_weights_that_are_not_numbers_are_refused_with_a_sentence(small):
    nn.init.constant_(small.model[5].weight, torch.nan)
    with pytest.raises(UserError, match="the model's outputs are not finite for any of the 24 images"):
        run("pgd", small.model, small.images, small.labels, **PGD)


def test_outputs_that_are_probabilities_are_flagged(small):
    result = run(
        "pgd", nn.Sequential(small.model, nn.Softmax(dim=1)).eval(), small.images, small.labels, **PGD
    )
    assert result.flags == ("softmax outputs: gradients vanish where the model is sure, give logits",)


@pytest.mark.parametrize(
    "name, changed, sentence",
    [
        ("fsgm", {}, f"'fsgm' is no attack known here: known are {', '.join(ATTACKS)}."),
        ("cw", {}, "cw has no norm 'linf': it has l2."),
        (
            "pgd",
            {"eps": None},
            "pgd needs eps: it searches inside a ball. eps=None asks for the smallest perturbation, which "
            f"{able('minimum_norm')} can do.",
        ),
        (
            "pgd",
            {"eps": -1},
            "eps = -1 is not possible: the attack budget is one number from 0 (pixel units); a curve is one "
            "call for each eps.",
        ),
        (
            "pgd",
            {"eps": [0.1, 0.2]},
            "eps = [0.1, 0.2] is not possible: the attack budget is one number from 0 (pixel units); a curve "
            "is one call for each eps.",
        ),
        (
            "pgd",
            {"step": None},
            "pgd needs step: no library's default stands in for a number that decides the result.",
        ),
        (
            "cw",
            {"norm": "l2", "eps": None},
            "cw needs binary_search_steps and initial_const: no library's default stands in for a number "
            "that decides the result.",
        ),
        ("pgd", {"steps": 0}, "steps = 0 is not possible for pgd: it is a number above 0."),
        ("pgd", {"rate": 1}, "pgd has no setting 'rate': it has step, steps, restarts."),
        ("fgsm", {}, "fgsm has no setting 'step': it has none."),
        (
            "apgd-ce",
            {"step": None, "targets": torch.zeros(24)},
            f"apgd-ce has no targets: {able('targeted')} can be sent to a class.",
        ),
        (
            "apgd-ce",
            {"step": None, "loss": lambda outputs, rows: outputs[:, 0]},
            f"apgd-ce climbs no loss of yours: {able('losses')} can.",
        ),
        (
            "pgd",
            {"targets": torch.zeros(23, dtype=torch.int64)},
            "targets must be whole numbers [24], one for each image, got torch.int64 (23,).",
        ),
        ("pgd", {"targets": torch.full((24,), 7)}, "targets run from 7 to 7, the model has classes 0 to 4."),
        (
            "noise",
            {"step": None, "steps": None},
            "noise needs kind: no library's default stands in for a number that decides the result.",
        ),
    ],
)
def test_what_an_attack_cannot_do_is_said_in_a_sentence(small, name, changed, sentence):
    with pytest.raises(ValueError) as caught:
        run(name, small.model, small.images, small.labels, **PGD | changed)
    assert str(caught.value) == sentence


def test_a_target_that_is_the_label_is_refused(small):
    with pytest.raises(ValueError, match=r"targets\[0\] is the image's own label"):
        run("pgd", small.model, small.images, small.labels, targets=small.labels, **PGD)


def test_a_plain_function_is_a_model_too(small):
    result = run("pgd", lambda images: small.model(images), small.images, small.labels, **PGD)
    assert torch.equal(result.images, run("pgd", small.model, small.images, small.labels, **PGD).images)


def test_every_attack_of_the_table_goes_through_the_tests_above(covered):
    assert covered == set(ATTACKS)
