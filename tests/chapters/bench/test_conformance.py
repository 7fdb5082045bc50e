import sys
from dataclasses import replace

import pytest
import torch

from causalnb.attacks import ATTACKS, foolbox_adapter, suites
from causalnb.attacks.contract import Attack
from causalnb.chapters.bench import conformance
from causalnb.chapters.bench.conformance import cases, promises, strength


@pytest.fixture(scope="module")
def table():
    return conformance.conformance()


@pytest.fixture
def clumsy(monkeypatch):
    """The bench of an attack that is made for the occasion, tried with the settings of fgsm."""

    def build(candidates, **abilities):
        monkeypatch.setitem(ATTACKS, "clumsy", Attack(candidates, **abilities))
        monkeypatch.setitem(cases.TRIALS, "clumsy", cases.TRIALS["fgsm"])
        return cases.ConformanceCase("clumsy")

    return build


def batch_noise(case):
    return case.images + case.eps * (2 * torch.rand(case.images.shape) - 1)


def test_every_attack_stands_at_every_line_and_none_fails(table):
    asked = {(line.attack, line.number) for line in table}
    assert asked == {(name, number) for name in ATTACKS for number in range(1, 16) if number != 14} | {
        ("evaluate", 14)
    } and len(table) == len(asked)
    assert [line for line in table if line.word == "fail"] == []
    assert set(conformance.TITLES) == set(range(1, 16))


def test_an_exemption_carries_its_reason_and_its_number_and_none_touches_the_binding_lines(table):
    exempt = [line for line in table if line.word == "exempt"]
    assert not {line.number for line in exempt} & {2, 5, 6, 13, 15} and not {
        number for number, _ in conformance.EXEMPTIONS
    } & {2, 5, 6, 13, 15}
    for line in exempt:
        reason, _, measured = line.sentence.partition(": ")
        assert reason == conformance.EXEMPTIONS[line.number, line.attack] and any(
            sign.isdigit() for sign in measured
        )


def test_an_exemption_does_not_hide_a_pass_and_binding_lines_take_none(monkeypatch):
    monkeypatch.setitem(conformance.EXEMPTIONS, (1, "fgsm"), "no reason")
    monkeypatch.setitem(conformance.EXEMPTIONS, (2, "fgsm"), "no reason")
    for number, good, word in (
        (1, True, "pass"),
        (1, False, "exempt"),
        (2, False, "fail"),
        (4, False, "fail"),
    ):
        assert conformance._judged("fgsm", number, cases.Outcome(good, 3, "3 of 4")).word == word
    assert conformance._judged("fgsm", 1, cases.Outcome(False, 3, "3 of 4", excusable=False)).word == "fail"


def test_the_linear_model_s_distances_are_margin_over_dual_norm():
    subject = cases.linear(4)
    weight, bias = subject.model[1].weight, subject.model[1].bias
    margins = (subject.images.flatten(1) @ weight[1] + bias[1]).abs()
    assert torch.allclose(subject.exact["l2"], margins / weight[1].norm()) and torch.allclose(
        subject.exact["linf"], margins / weight[1].abs().sum()
    )
    assert torch.allclose(subject.exact["l2"], torch.tensor(0.15, dtype=torch.float64))
    assert sorted(subject.labels.tolist()) == [0] * 4 + [1] * 4


def test_the_network_has_pixels_at_both_ends_and_every_fifth_label_wrong():
    subject = cases.network()
    wrong = subject.model(subject.images).argmax(dim=1) != subject.labels
    assert wrong.nonzero().flatten().tolist() == [0, 5, 10, 15]
    assert (subject.images == 0).float().mean() > 0.2 and (subject.images == 1).float().mean() > 0.2


def test_an_attack_that_draws_for_the_whole_batch_fails_line_1(clumsy):
    assert not promises.batch(clumsy(batch_noise)).good


def test_an_attack_that_leaves_the_threads_changed_fails_line_2(clumsy):
    before = torch.get_num_threads()

    def greedy(case):
        torch.set_num_threads(before + 1)
        return batch_noise(case)

    try:
        outcome = promises.state(clumsy(greedy))
    finally:
        torch.set_num_threads(before)
    assert not outcome.good and outcome.says.endswith(": threads")


def test_an_attack_that_drops_the_trace_function_fails_line_2(clumsy):
    def rude(case):
        sys.settrace(None)
        return batch_noise(case)

    assert "trace function" in promises.state(clumsy(rude)).says


def test_verdicts_that_move_with_the_scale_or_the_head_fail_lines_3_and_4(clumsy):
    def only_where_unsure(case):
        with torch.no_grad():
            unsure = (case.model(case.images).amax(dim=1) < 1) & (case.model(case.images).amax(dim=1) > 0)
        return torch.where(unsure[:, None, None, None], 1 - case.images, case.images)

    one = clumsy(only_where_unsure)
    one.trial = replace(one.trial, eps=1.0)
    assert not strength.scale(one).good and not strength.heads(one).good


def test_black_failures_and_steps_beyond_the_ball_fail_lines_5_and_6():
    one = cases.ConformanceCase("fgsm")
    whole = one.base
    one.base = replace(whole, images=torch.where(whole.found[:, None, None, None], whole.images, 0.0))
    assert not promises.failure(one).good
    one.base = replace(whole, images=whole.clean + 2 * (whole.images - whole.clean))
    assert not promises.budget(one).good
    one.base = replace(whole, found=torch.ones_like(whole.found))
    assert not promises.budget(one).good


def test_an_attack_that_does_not_aim_fails_lines_7_and_12(clumsy):
    one = clumsy(batch_noise)
    assert not strength.optimum(one).good
    assert strength.rival(one).value >= 6 and not strength.rival(one).good


def test_a_success_where_nothing_moves_the_model_fails_line_8_without_excuse():
    one = cases.ConformanceCase("fgsm")
    assert strength.controls(one).good
    one.unbroken = replace(one.unbroken, found=torch.tensor([True, False, False, False, False]))
    outcome = strength.controls(one)
    assert not outcome.good and not outcome.excusable


def test_an_attack_that_does_not_aim_misses_what_is_planted(clumsy):
    outcome = strength.controls(clumsy(batch_noise))
    assert not outcome.good and outcome.value == 0 and outcome.excusable


def test_more_that_finds_less_fails_line_9():
    one = cases.ConformanceCase("pgd")
    one.base = replace(one.base, found=torch.zeros_like(one.base.found))
    assert not strength.stronger(one).good


def test_an_attack_that_leaves_the_border_alone_fails_line_11(clumsy):
    def inner(case):
        edge = (case.images == 0) | (case.images == 1)
        edge[:, :, :3] = False
        inwards = case.images + case.eps * (1 - 2 * case.images).sign()
        return torch.where(edge, case.images, inwards)

    outcome = strength.border(clumsy(inner))
    assert not outcome.good and outcome.value == pytest.approx(0.5)


def test_targets_that_are_not_aimed_at_fail_line_13(clumsy):
    def anywhere(case):
        return case.images

    assert not promises.aim(clumsy(anywhere, targeted=True)).good and not promises.aim(clumsy(anywhere)).good


def test_an_evaluation_that_forgets_its_store_fails_line_14(monkeypatch):
    monkeypatch.setattr(suites, "memo", lambda store, what, make, *given, **asked: make(*given, **asked))
    assert not promises.resumes().good


def test_others_that_change_with_a_spoiled_image_fail_line_15(clumsy):
    calls = []

    def once(case):
        calls.append(case)
        return foolbox_adapter.fgsm(case) if len(calls) == 1 else case.images

    outcome = promises.spoiled(clumsy(once))
    assert not outcome.good and outcome.value > 5
