"""Suites by the verdicts that anyone can score again, and attacks that stop at their first success."""

from dataclasses import fields, replace
from functools import partial
from itertools import repeat

import pyautoattack
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalnb import UserError
from causalnb.attacks import ball, evaluate, run
from causalnb.attacks.suites import SUITES, Step, joined, renamed, steps_of, worst_case
from causalnb.attacks.watch import Criterion, WatchedModel
from causalnb.store import Store

WALK = {"step": 0.015, "steps": 8}
PLAIN = (Step("fgsm", {}), Step("pgd", WALK), Step("cw-linf", WALK), Step("deepfool", {"steps": 8}))
HILLS = {
    "norm": "linf",
    "eps": 0.1,
    "seed": 0,
    "suite": (Step("fgsm", {}), Step("bim", {"step": 0.02, "steps": 10})),
}


class Counted(nn.Module):
    """Counts its passes and breaks at one of them (0: at none)."""

    def __init__(self, model, at=0):
        super().__init__()
        self.model, self.passes, self.at = model, 0, at

    def forward(self, images):
        self.passes += 1
        if self.passes == self.at:
            raise RuntimeError("broken off")
        return self.model(images)

    def store_key(self):
        return self.model


class Hills(nn.Module):
    """The margin of class 1 over class 0 is a chain of slopes over the mean pixel."""

    places = torch.tensor([0.0, 0.20, 0.23, 0.27, 0.29, 0.40, 0.44, 0.60, 0.65, 0.70, 1.0])
    heights = torch.tensor([-2.0, -1.0, -0.5, -1.5, 1.0, -1.0, 1.0, -1.0, 1.0, -2.0, -1.0])

    def forward(self, images):
        mean = images.flatten(1).mean(dim=1)
        after = torch.bucketize(mean.detach(), self.places).clamp(1, len(self.places) - 1)
        share = (mean - self.places[after - 1]) / (self.places[after] - self.places[after - 1])
        return torch.stack(
            [torch.zeros_like(mean), torch.lerp(self.heights[after - 1], self.heights[after], share)], dim=1
        )


@pytest.fixture
def hills():
    """A jump of 0.1 breaks the first and the last image, small steps the last two; the third is class 1, and
    wrong; none breaks the second.
    """
    return (
        Hills(),
        torch.tensor([0.205, 0.9, 0.3, 0.605, 0.402])[:, None, None, None].expand(5, 1, 2, 2).clone(),
        torch.zeros(5, dtype=torch.int64),
    )


def linear(classes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, images = nn.Sequential(nn.Flatten(), nn.Linear(36, classes)).eval(), torch.rand(2, 1, 6, 6)
    with torch.no_grad():
        return model, images, model(images).argmax(dim=1)


def on(small, suite=PLAIN, *, model=None, **changed):
    return evaluate(
        model or small.model,
        small.images,
        small.labels,
        suite=suite,
        **{"norm": "linf", "eps": 0.03, "seed": 0} | changed,
    )


def same(first, second):
    """Whether two evaluations are equal but for their seconds."""
    pairs = zip(first.results, second.results, strict=True)
    fields = [
        (getattr(a, name), getattr(b, name))
        for a, b in pairs
        for name in ("found", "images", "predicted", "distance", "clean", "correct")
    ]
    fields += [
        *zip(first.rows, second.rows, strict=True),
        (first.correct, second.correct),
        (first.robust, second.robust),
        (first.images, second.images),
    ]
    texts = [
        [(one.name, one.settings, one.queries, one.flags) for one in of.results] for of in (first, second)
    ]
    return (
        all(torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)) for a, b in fields)
        and texts[0] == texts[1]
        and first.flags == second.flags
    )


# What is in a suite ---------------------------------------------------------------------------------------


def test_the_standard_suite_is_autoattack_s_own():
    library = pyautoattack.AutoAttack(None, norm="Linf", eps=0.1, version="standard")
    steps = steps_of("standard", norm="linf", eps=0.1, classes=10)
    assert (
        [step.name for step in steps]
        == [{"fab": "fab-t"}.get(name, name) for name in library.attacks_to_run]
        == ["apgd-ce", "apgd-t", "fab-t", "square"]
    )
    assert [step.settings.get("steps") for step in steps] == [
        library.apgd.n_iter,
        library.apgd_targeted.n_iter,
        library.fab.n_iter,
        None,
    ]
    assert steps[3].settings == {
        "queries": library.square.n_queries,
        "rescale": library.square.rescale_schedule,
    }


def test_the_rand_suite_is_autoattack_s_own():
    library = pyautoattack.AutoAttack(None, norm="Linf", eps=0.1, version="rand")
    expected = {"steps": library.apgd.n_iter, "eot": library.apgd.eot_iter}
    steps = steps_of("rand", norm="linf", eps=0.1, classes=10)
    assert {step.name: step.settings for step in steps} == dict.fromkeys(library.attacks_to_run, expected)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_with_too_few_classes_for_a_loss_the_margin_stands_in(classes):
    used = {
        suite: {step.name for step in steps_of(suite, norm="linf", eps=0.1, classes=classes)}
        for suite in SUITES
    }
    for suite in ("short", "full", "standard"):
        assert ("apgd-t" in used[suite]) is (classes >= 4) and (
            "apgd-t" in used[suite] or "cw-linf" in used[suite]
        )
    assert used["rand"] == {"apgd-ce", "apgd-dlr" if classes >= 3 else "cw-linf"}


def test_every_path_of_a_suite_can_cross_the_ball():
    for suite in SUITES:
        for step in steps_of(suite, norm="linf", eps=0.3, classes=2):
            assert "step" not in step.settings or step.settings["step"] * step.settings["steps"] >= 0.6, step


def test_ddn_is_in_the_full_suite_in_l2_alone():
    assert [
        any(step.name == "ddn" for step in steps_of("full", norm=norm, eps=0.3, classes=10))
        for norm in ("l2", "linf")
    ] == [True, False]


@pytest.mark.parametrize("suite, classes", [("short", 10), ("full", 10), ("short", 2), ("standard", 2)])
def test_every_suite_runs(suite, classes):
    done = evaluate(*linear(classes), norm="linf", eps=0.5, suite=suite, seed=0, drop=False)
    assert [one.name for one in done.results] == [
        step.name for step in steps_of(suite, norm="linf", eps=0.5, classes=classes)
    ]
    assert (
        done.suite == suite
        and not done.robust.any()
        and all(one.found.all() for one in done.results)
        and [flag.partition(":")[0] for flag in done.flags]
        == ["clean accuracy near chance"] * (classes == 2)  # two of two, a coin's luck in a quarter of cases
    )


def test_a_clean_accuracy_near_chance_and_a_model_without_statistics_are_flagged(small):
    def flagged(model, labels):
        done = evaluate(
            model, small.images, labels, norm="linf", eps=0.0, suite=[Step("fgsm", {})], seed=0, chunk=24
        )
        return [flag.partition(":")[0] for flag in done.flags]

    assert flagged(small.model, small.labels) == []
    assert flagged(small.model, (small.labels + 1) % 5) == ["clean accuracy near chance"]
    small.model[1].track_running_stats, small.model[1].running_mean, small.model[1].running_var = (
        False,
        None,
        None,
    )
    with torch.no_grad():
        labels = small.model(small.images).argmax(dim=1)
    assert flagged(small.model, labels) == ["answers hang on neighbours"]


@pytest.mark.parametrize("classes", [10, 2])
def test_the_rand_suite_runs_with_its_draws_here_with_two_steps_for_its_hundred(classes):
    steps = [
        Step(step.name, step.settings | {"steps": 2})
        for step in steps_of("rand", norm="linf", eps=0.5, classes=classes)
    ]
    done = evaluate(*linear(classes), norm="linf", eps=0.5, suite=steps, seed=0, drop=False)
    assert done.results[0].queries[1] == 2 * 20 * (2 + 1) and not done.robust.any()


def test_an_unknown_suite_is_refused(small):
    with pytest.raises(ValueError) as caught:
        on(small, "plus")
    assert str(caught.value) == "suite = 'plus' is not possible: it is one of short, full, standard, rand."


@pytest.mark.parametrize(
    "name, settings, expected",
    [
        ("square", {"queries": 30, "rescale": True}, "square-30 (rescaled)"),
        ("square", {"queries": 5000, "rescale": False}, "square-5000"),
        ("fgsm", {}, "fgsm"),
        ("pgd", WALK, "pgd-8"),
        ("pgd", WALK | {"restarts": 3}, "pgd-8 x 3"),
        ("fab-t", {"steps": 2}, "fab-t-2"),
    ],
)
def test_an_attack_is_called_by_what_makes_it_another_one(name, settings, expected):
    assert renamed(run(name, *linear(3), norm="linf", eps=0.5, seed=0, **settings)) == expected


# The worst case -------------------------------------------------------------------------------------------


def test_the_worst_case_is_no_single_attack_s(hills):
    done = evaluate(*hills, drop=False, **HILLS)
    assert done.correct.tolist() == [True, True, False, True, True]
    assert [one.found.tolist() for one in done.results] == [
        [True, False, False, True],
        [False, False, True, True],
    ]
    assert [rows.tolist() for rows in done.rows] == [[0, 1, 3, 4]] * 2
    assert done.robust.tolist() == [False, True, False, False, False]
    assert (done.accuracy().value, done.robust_accuracy().value) == (
        0.8,
        0.2,
    ) and done.robust_accuracy().n == 5


def test_a_broken_image_is_spared_what_comes_later(hills):
    done, alone = (
        evaluate(*hills, **HILLS),
        run("bim", *hills, norm="linf", eps=0.1, step=0.02, steps=10, seed=0),
    )
    assert [rows.tolist() for rows in done.rows] == [[0, 1, 3, 4], [1, 3]]
    assert done.robust.tolist() == evaluate(*hills, drop=False, **HILLS).robust.tolist()
    assert (
        done.results[1].queries[0] < alone.queries[0] * 2 / 4
    )  # half of the images, and one of them to its first success


def test_the_attacked_images_are_the_first_success_against_each_and_clean_where_there_is_none(hills):
    model, images, labels = hills
    for drop in (True, False):
        done = evaluate(model, images, labels, drop=drop, **HILLS)
        assert torch.equal(done.images[[0, 4]], done.results[0].images[[0, 3]])
        assert torch.equal(done.images[3], done.results[1].images[1 if drop else 2]) and torch.equal(
            done.images[1:3], images[1:3]
        )
        assert (model(done.images).argmax(dim=1) != labels).tolist() == [True, False, True, True, True]


def test_nothing_is_left_to_attack_where_all_is_broken_or_wrong(hills):
    model, images, labels = hills
    assert [one.name for one in evaluate(model, images[:1], labels[:1], **HILLS).results] == ["fgsm"]
    wrong = evaluate(model, images[2:3], labels[2:3], **HILLS)
    assert wrong.results == () and not wrong.correct.any() and torch.equal(wrong.images, images[2:3])


def test_dropping_what_is_broken_leaves_the_worst_case_as_it_is(small):
    """For attacks whose result belongs to an image alone: exactly."""
    whole, dropped = on(small, drop=False), on(small)
    found = [len(one.found) for one in dropped.results]
    assert torch.equal(whole.robust, dropped.robust) and 0 < whole.robust.sum() < whole.correct.sum() == 20
    assert found == sorted(found, reverse=True) and found[0] == 20 > found[-1]
    for one, full in zip(dropped.results, whole.results, strict=True):
        assert one.queries[0] <= full.queries[0] and len(full.found) == 20
    assert sum(one.queries[0] for one in dropped.results) < 0.8 * sum(one.queries[0] for one in whole.results)


def test_the_worst_case_is_the_and_of_verdicts_scored_again(small):
    for drop in (True, False):
        done = on(
            small,
            (*PLAIN, Step("apgd-ce", {"steps": 8}), Step("square", {"queries": 30, "rescale": True})),
            drop=drop,
        )
        robust = small.model(small.images).argmax(dim=1) == small.labels
        assert torch.equal(done.correct, robust)
        for one, rows in zip(done.results, done.rows, strict=True):
            robust[rows] &= small.model(one.images).argmax(dim=1) == small.labels[rows]
            assert (ball.distance(small.images[rows], one.images, "linf") <= 0.03 + 1e-6).all()
        assert torch.equal(done.robust, robust) and 0 < robust.sum() < 20
        assert torch.equal(small.model(done.images).argmax(dim=1) == small.labels, robust)


def test_the_chunk_changes_no_verdict(small):
    assert torch.equal(on(small, chunk=5).robust, on(small).robust)


def test_the_worst_case_of_results_needs_the_same_images_and_model(small):
    def attacked(model, rows, name="fgsm", **settings):
        return run(
            name, model, small.images[rows], small.labels[rows], norm="linf", eps=0.03, seed=0, **settings
        )

    all_, few = slice(None), slice(1, None)
    results = [attacked(small.model, all_), attacked(small.model, all_, "pgd", **WALK)]
    assert torch.equal(worst_case(results), on(small, PLAIN[:2]).robust)
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 5)).eval()
    for wrong in (attacked(small.model, few, "pgd", **WALK), attacked(other, all_, "pgd", **WALK)):
        with pytest.raises(
            ValueError,
            match="^pgd and fgsm were not run on the same images and model: a worst case is taken image by "
            "image.$",
        ):
            worst_case([results[0], wrong])


def test_an_image_with_a_pixel_or_logit_that_is_no_number_is_not_robust(small):
    small.images[4:6, 0, 0, 0] = torch.tensor([torch.nan, torch.inf])
    small.labels[4] = 0  # where argmax ends among numbers that are none
    done = on(small, PLAIN[:1])
    assert not done.correct[4:6].any() and not done.robust[4:6].any() and done.correct.sum() == 18
    assert done.flags[0] == "pixels not finite: 2 images were not attacked"


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (lambda x: x[:0], lambda y: y[:0], "with n at least 1"),
        (lambda x: 3 * x, lambda y: y, r"lies outside \[0, 1\]"),
        (lambda x: x, lambda y: y + 9, "labels run from"),
    ],
    ids=["none", "box", "labels"],
)
def test_what_cannot_be_attacked_is_refused_and_never_a_number(small, images, labels, sentence):
    with pytest.raises((ValueError, UserError), match=sentence):
        evaluate(
            small.model,
            images(small.images),
            labels(small.labels),
            norm="linf",
            eps=0.05,
            suite="short",
            seed=0,
        )


def test_all_state_is_as_it_was(small):
    small.model.train()
    before, mean = torch.get_rng_state(), small.model[1].running_mean.clone()
    on(small)
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(small.model[1].running_mean, mean)
    assert all(module.training for module in small.model.modules()) and all(
        parameter.requires_grad for parameter in small.model.parameters()
    )


# What a reader must know ----------------------------------------------------------------------------------


def test_square_alone_points_at_masked_gradients(small):
    model = nn.Sequential(Rounded(), small.model).eval()
    small.labels[4:] = model(small.images).argmax(dim=1)[4:]
    done = on(
        small,
        (Step("fgsm", {}), Step("bim", WALK), Step("square", {"queries": 60, "rescale": True})),
        model=model,
        eps=0.1,
    )
    alone = int(done.results[2].found.sum())
    assert alone > 3 and [int(one.found.sum()) for one in done.results[:2]] == [0, 0]
    assert (
        f"square improves: it alone broke {alone} images that gradients left, which points at masked "
        "gradients" in done.flags
    )
    assert (
        f"zero gradients: the cross-entropy has none on {int(done.correct.sum())} of "
        f"{int(done.correct.sum())} images" in done.flags
    )


def test_square_among_attacks_that_see_gradients_is_no_flag(small):
    assert (
        on(small, (*PLAIN, Step("square", {"queries": 30, "rescale": True})), drop=False, eps=0.05).flags
        == ()
    )


class Rounded(nn.Module):
    """Eight grey values: no gradient passes."""

    def forward(self, images):
        return (images * 7).round() / 7


def test_the_flags_of_a_result_are_the_evaluation_s(small):
    assert on(small, [Step("bim", {"step": 0.001, "steps": 2})]).flags == (
        "short path: steps x step = 0.002 cannot cross the ball, 2 eps = 0.06",
    )


# In the store ---------------------------------------------------------------------------------------------


def test_a_second_evaluation_asks_the_store_and_attacks_nothing(small, tmp_path):
    first, second, warm = Counted(small.model), Counted(small.model), Store(tmp_path)
    done = on(small, model=first, store=Store(tmp_path))
    again = on(small, model=second, store=warm)
    assert first.passes > second.passes and warm.uses and not any(use.made for use in warm.uses)
    assert same(done, again) and same(done, on(small))


def test_an_evaluation_that_was_broken_off_goes_on_and_ends_as_if_it_had_not_been(small, tmp_path):
    needed, rest = Counted(small.model), Counted(small.model)
    whole = on(small, PLAIN[:2], model=needed, chunk=12)
    with pytest.raises(RuntimeError, match="broken off"):
        on(
            small,
            PLAIN[:2],
            model=Counted(small.model, at=needed.passes // 2),
            chunk=12,
            store=Store(tmp_path),
        )
    assert (
        same(on(small, PLAIN[:2], model=rest, chunk=12, store=Store(tmp_path)), whole)
        and rest.passes < needed.passes
    )


@pytest.mark.parametrize(
    "changed", [{"eps": 0.02}, {"seed": 1}, {"drop": False}, {"chunk": 9}, {"weight": 1e-5}]
)
def test_another_question_is_attacked_anew(small, tmp_path, changed):
    on(small, PLAIN[:1], store=Store(tmp_path))
    before = len(Store(tmp_path).entries())
    with torch.no_grad():
        small.model[5].weight[0, 0] += changed.pop("weight", 0.0)
    done = on(small, PLAIN[:1], store=Store(tmp_path), **changed)
    assert len(Store(tmp_path).entries()) > before and same(done, on(small, PLAIN[:1], **changed))


class Shifted:
    """Models that differ in what one number does to the image; all their weights are equal."""

    def __init__(self, model, by):
        self.model, self.by = model, by

    def logits(self, images):
        return self.model(images + self.by)

    __call__ = logits


def shifted(model, by):
    return lambda images: model(images + by)


def shifted_by_default(model, by):
    def function(images, by=by):
        return model(images + by)

    return function


def shifted_model(images, model, by):
    return model(images + by)


FUNCTIONS = {
    "a closure": shifted,
    "a default": shifted_by_default,
    "a partial": lambda model, by: partial(shifted_model, model=model, by=by),
    "an object": Shifted,
    "a bound method": lambda model, by: Shifted(model, by).logits,
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_plain_function_is_kept_and_never_served_for_another(small, tmp_path, kind):
    for by, made in ((0.0, True), (0.3, True), (0.0, False)):
        store = Store(tmp_path)
        done = on(small, PLAIN[:2], model=FUNCTIONS[kind](small.model, by), store=store)
        assert same(done, on(small, PLAIN[:2], model=shifted(small.model, by)))
        assert [use.made for use in store.uses] == [made] * 2


def test_a_function_whose_content_cannot_be_seen_is_refused_in_a_sentence_and_attacked_without_a_store(
    small, tmp_path
):
    numbers = iter(range(10**6))
    model = lambda images: small.model(images) + 0 * next(numbers)  # noqa: E731
    with pytest.raises(
        UserError, match=r"^fgsm in a suite cannot be kept in the store: model .*numbers is of "
    ) as caught:
        on(small, PLAIN[:1], model=model, store=Store(tmp_path))
    assert str(caught.value).endswith(".") and Store(tmp_path).entries() == []
    assert torch.equal(on(small, PLAIN[:1], model=model).robust, on(small, PLAIN[:1]).robust)


# Batches --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [{}, {"targets": True}, {"step": 0.001}])
def test_batches_joined_are_one_run_over_all_images(small, changed):
    def part(rows):
        asked = {"norm": "linf", "eps": 0.05, "step": 0.02, "steps": 5, "seed": 0} | changed
        if asked.pop("targets", False):
            asked["targets"] = ((small.labels + 1) % 5)[rows]
        return run("pgd", small.model, small.images[rows], small.labels[rows], **asked)

    def plain(result):
        held = {one.name: getattr(result, one.name) for one in fields(result) if one.name != "criterion"}
        held |= {"labels": result.criterion.labels, "targets": result.criterion.targets}
        return {
            name: (one.dtype, one.shape, one.nan_to_num(-1).tolist())
            if isinstance(one, torch.Tensor)
            else one
            for name, one in held.items()
        }

    whole, parts = part(slice(None)), [part(slice(0, 9)), part(slice(9, 24))]
    assert plain(joined(parts)) == plain(replace(whole, seconds=sum(one.seconds for one in parts)))
    assert len(joined(parts).flags) == ("step" in changed)


# Stopping at the first success ----------------------------------------------------------------------------

L2, EIGHT, TOWARDS = {"step": 0.1, "steps": 8}, {"steps": 8}, {"steps": 8, "n_targets": 3}
SEARCHES = [
    ("fgsm", "linf", 0.04, {}),
    ("fgsm", "l2", 0.3, {}),
    ("bim", "linf", 0.03, WALK),
    ("bim", "l2", 0.3, L2),
    ("pgd", "linf", 0.03, WALK),
    ("pgd", "l2", 0.3, L2),
    ("pgd", "linf", 0.03, WALK | {"steps": 2, "restarts": 3}),
    ("cw-linf", "linf", 0.03, WALK),
    ("cw-linf", "l2", 0.3, L2),
    ("apgd-ce", "linf", 0.03, EIGHT),
    ("apgd-ce", "l2", 0.3, EIGHT),
    ("apgd-dlr", "linf", 0.03, EIGHT),
    ("apgd-dlr", "l2", 0.3, EIGHT),
    ("apgd-t", "linf", 0.03, TOWARDS),
    ("apgd-t", "l2", 0.3, TOWARDS),
    ("fab-t", "linf", 0.03, TOWARDS),
    ("fab-t", "l2", 0.3, TOWARDS),
    ("square", "linf", 0.06, {"queries": 40, "rescale": True}),
    ("square", "l2", 0.8, {"queries": 40, "rescale": True}),
    ("deepfool", "linf", 0.03, EIGHT),
    ("deepfool", "l2", 0.3, EIGHT),
    ("cw", "l2", 0.3, {"step": 0.05, "steps": 15, "binary_search_steps": 2, "initial_const": 1.0}),
]
each_search = pytest.mark.parametrize("name, norm, eps, settings", SEARCHES)


@each_search
def test_what_is_found_by_a_search_that_stops_is_the_same_and_costs_no_more(small, name, norm, eps, settings):
    whole, stopped = (
        run(name, small.model, small.images, small.labels, norm=norm, eps=eps, seed=0, stop=stop, **settings)
        for stop in (False, True)
    )
    assert torch.equal(stopped.found, whole.found) and 4 <= whole.found.sum() <= 19
    assert stopped.queries[0] <= whole.queries[0] and stopped.queries[1] <= whole.queries[1]
    assert stopped.settings == whole.settings | {"stop": True}
    change = (stopped.images.double() - small.images.double()).flatten(1)
    size = change.abs().amax(dim=1) if norm == "linf" else change.norm(dim=1)
    fresh = small.model(stopped.images).argmax(dim=1)
    assert torch.equal(fresh[4:] != small.labels[4:], stopped.found[4:]) and torch.equal(
        fresh, stopped.predicted
    )
    assert size.max() <= eps + 1e-12 and stopped.images.min() >= 0 and stopped.images.max() <= 1
    assert torch.equal(stopped.images[~stopped.found], small.images[~stopped.found])


@each_search
def test_a_search_goes_to_its_end_although_all_images_are_broken_early(small, name, norm, eps, settings):
    whole, stopped = (
        run(
            name,
            small.model,
            small.images,
            small.labels,
            norm=norm,
            eps=min(20 * eps, ball.radius_of_box(small.images, norm)),
            seed=0,
            stop=stop,
            **settings,
        )
        for stop in (False, True)
    )
    assert (
        torch.equal(stopped.found, whole.found)
        and whole.found.sum() >= 17
        and stopped.images.isfinite().all()
    )
    assert name in ("fgsm", "square") or stopped.queries[0] < 0.8 * whole.queries[0]


def test_what_is_broken_is_answered_without_a_pass(hills):
    """The fifth image crosses with the first step of 0.02, which the second pass sees; the second image never
    does.
    """

    def asked(rows, **changed):
        model = Counted(hills[0])
        result = run(
            "bim",
            model,
            hills[1][rows],
            hills[2][rows],
            norm="linf",
            eps=0.1,
            step=0.02,
            steps=10,
            seed=0,
            **changed,
        )
        return result.queries, model.passes

    assert asked([4]) == ((10, 10), asked([1])[1]) and asked([1], stop=True) == asked([1])
    assert asked([4], stop=True) == ((2, 2), asked([4])[1] - 8)
    assert asked([1, 4], stop=True)[0] == (12, 12)


def test_an_answer_without_a_pass_is_the_last_one_in_the_budget():
    """A bright image is broken; the first is out of the budget, so it is asked again, and the second is
    not.
    """
    passes = []

    def model(images):
        passes.append(images.flatten(1).mean(dim=1))
        return torch.stack([torch.full((len(images),), 0.5), passes[-1]], dim=1)

    watched = WatchedModel(model, torch.device("cpu"), repeat(0), rows=1)
    images = torch.zeros(2, 1, 2, 2)
    watched.follow(
        images, Criterion(torch.zeros(2, dtype=torch.int64)), lambda some: some.flatten(1).amax(dim=1) < 0.8
    )
    for bright in ([0.9, 0.7], [0.6, 0.1], [0.2, 0.3]):
        logits = watched(torch.tensor(bright)[:, None, None, None].expand(2, 1, 2, 2))
    assert [len(one) for one in passes] == [2, 1] and logits[:, 1].tolist() == pytest.approx([0.6, 0.7])
    assert (
        watched.last_success(images).flatten(1).mean(dim=1).tolist() == pytest.approx([0.6, 0.7])
        and watched.forwards == 3
    )


# What is asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize(
    ("norm", "eps", "sentence"),
    [
        ("linf", 8, "eps = 8 is not possible: in linf .* further apart than 1, .*8/255, not 8"),
        ("l2", 7, "eps = 7 is not possible: in l2 .* further apart than 6, "),
        ("linf", -1, "eps = -1 is not possible: the attack budget is one number from 0"),
    ],
)
def test_an_impossible_budget_is_refused_whether_or_not_an_image_is_left_to_attack(
    right, norm, eps, sentence
):
    model, images, labels = linear(3)
    with pytest.raises((UserError, ValueError), match=sentence):
        evaluate(
            model, images, labels if right else (labels + 1) % 3, norm=norm, eps=eps, suite=PLAIN, seed=0
        )


def test_a_suite_without_attacks_is_refused():
    model, images, labels = linear(3)
    with pytest.raises(
        UserError, match="The suite has no attacks, and no attack breaks no image: give one of short"
    ):
        evaluate(model, images, labels, norm="linf", eps=0.1, suite=[], seed=0)
    with pytest.raises(
        ValueError, match="a worst case over no attack says nothing: give at least one result"
    ):
        worst_case([])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(0, 5), st.sampled_from([torch.int64, torch.uint8, torch.bool, torch.float32, torch.complex64])
)
def test_labels_are_one_whole_number_for_each_image(n, kind):
    model, images, labels = linear(3)
    given_ = labels.repeat(3)[:n].to(kind)

    def ask():
        return evaluate(model, images, given_, norm="linf", eps=0.01, suite=[Step("fgsm", {})], seed=0)

    if n == len(images) and kind in (torch.int64, torch.uint8):
        assert ask().correct.all()
    else:
        with pytest.raises(ValueError, match=r"labels must be whole numbers \[2\], one for each image, got"):
            ask()
