import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from causalnb import UserError
from causalnb.attacks import evaluate
from causalnb.attacks.panel import PLANTED, ROWS, Panel, Row, sanity_panel
from causalnb.attacks.report import PANEL, Report, budget, report, said
from causalnb.attacks.suites import Step, renamed, steps_of
from causalnb.data import Images
from causalnb.statistics import Estimate, proportion
from causalnb.store import Store

SUITE = (
    Step("fgsm", {}),
    Step("pgd", {"step": 0.02, "steps": 5, "restarts": 2}),
    Step("square", {"queries": 20, "rescale": True}),
)


def subject():
    """A linear network with ten images, of which it gets eight."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, images = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).eval(), torch.rand(10, 1, 6, 6)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    labels[:2] = (labels[:2] + 1) % 4
    return model, Images("noise", "test", images, labels, tuple("abcd"), "0123456789abcdef")


@pytest.fixture(scope="module")
def small():
    """A report on three attacks, with a panel of two rows that hold."""
    model, some = subject()
    done = evaluate(model, some.images, some.labels, norm="linf", eps=0.03, suite=SUITE, seed=0)
    return Report(
        {"model": "mine"},
        Panel(
            (Row(5, "a row", "pass", 0.0, "0 of 8"), Row(15, "another", "not applicable", None, "no layer")),
            8,
        ),
        done,
    )


def strict(path):
    def never(word):
        raise AssertionError(word)

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=never)


def table(text):
    """Name of an attack -> its numbers in the printed table."""
    lines = text.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("attack "))
    body = lines[head + 1 : lines.index("", head)]
    return {line[:24].strip(): line[24:].split() for line in body}


def test_the_report_is_the_suite_s_and_the_panel_s_own(tmp_path):
    model, some = subject()
    done = report(
        model,
        some,
        norm="linf",
        eps=0.03,
        suite="short",
        seed=0,
        device=torch.device("cpu"),
        store=Store(tmp_path),
        what={"model": "mine", "n": 7},
    )
    alone = evaluate(model, some.images, some.labels, norm="linf", eps=0.03, suite="short", seed=0)
    assert torch.equal(done.evaluation.robust, alone.robust) and [
        renamed(one) for one in done.evaluation.results
    ] == [renamed(one) for one in alone.results]
    assert done.panel == sanity_panel(model, some.images, some.labels, norm="linf", eps=0.03, seed=0)
    expected = {
        "model": "mine",
        "norm": "linf",
        "eps": 0.03,
        "seed": 0,
        "n": 10,
        "data_digest": "0123456789abcdef",
        "device": "cpu",
    }
    assert (
        expected.items() <= done.what.items() and {"environment", "finished", "threads"} <= done.what.keys()
    )
    assert len(Store(tmp_path).entries()) == len(alone.results)
    content = strict(done.write(tmp_path / "record.json"))
    assert [row["name"] for row in content["panel"]] == [name for _, name, _ in ROWS] and content[
        "suite"
    ] == "short"
    assert len(content["attacks"]) <= len(steps_of("short", norm="linf", eps=0.03, classes=4))


def test_the_panel_looks_at_no_more_than_forty_images(small, monkeypatch):
    model, some = subject()
    many = replace(some, images=some.images.repeat(5, 1, 1, 1), labels=some.labels.repeat(5))
    seen = []
    monkeypatch.setattr(
        "causalnb.attacks.report.sanity_panel",
        lambda model, images, labels, **given: seen.append((len(images), len(labels))) or Panel((), 0),
    )
    monkeypatch.setattr(
        "causalnb.attacks.report.evaluate",
        lambda model, images, labels, **given: seen.append((len(images), len(labels))) or small.evaluation,
    )
    report(model, many, norm="linf", eps=0.03, suite="short", seed=0, device=torch.device("cpu"), what={})
    assert sorted(seen) == [(PANEL, PANEL), (50, 50)]


def test_the_table_counts_down_from_what_was_right_to_what_is_robust(small):
    of, rows = small.evaluation, table(str(small))
    assert list(rows) == ["fgsm", "pgd-5 x 2", "square-20 (rescaled)"]
    left = 8
    for (attacked, broken, after, forward, *_), result in zip(rows.values(), of.results, strict=True):
        assert (
            int(attacked) == left and int(broken) == result.found.sum() and int(forward) == result.queries[0]
        )
        left -= int(broken)
        assert after == f"{left / 10:.1%}"
    assert 0 < left < 8 and left == of.robust.sum()
    lines = str(small).splitlines()
    assert (
        lines[0] == f"clean accuracy {said(of.accuracy())}, n = 10"
        and "sanity panel: 0 of 2 rows fail, 1 not applicable, n = 8" in lines
    )
    assert (
        lines[-1]
        == f"robust accuracy {said(of.robust_accuracy())}: the worst case of each image over the attacks "
        "above"
    )


def test_a_flag_or_a_failing_row_is_said_under_the_table(small):
    warning = (
        "A row above fails or is flagged: the number bounds robustness from above, and may be far above it."
    )
    flagged = replace(small, evaluation=replace(small.evaluation, flags=("short path",)))
    failing = replace(small, panel=Panel((replace(small.panel.rows[0], word="fail"),), 8))
    assert warning not in str(small)
    assert (
        str(flagged).splitlines()[-2:] == ["mind: short path", warning]
        and str(failing).splitlines()[-1] == warning
    )


@pytest.mark.parametrize("share", [0.82, 0.5, 0.1])
def test_plants_that_pgd_misses_say_how_far_the_number_may_be_off_and_no_more(small, share):
    row = Row(15, PLANTED, "fail", share, "some are missed")
    said_last = str(replace(small, panel=Panel((row,), 8))).splitlines()[-1]
    clean, robust = small.evaluation.accuracy().value, small.evaluation.robust_accuracy().value
    most = proportion(round(10 * (clean - robust)), 10).high
    assert said_last == (
        f"PGD alone finds {share:.0%} of the planted examples. If this suite, which also searches in other "
        "ways, found no larger a share of the model's own, the robust accuracy would be "
        f"{100 * max(0, clean - most / share):.1f} % or more, not {100 * robust:.1f} %."
    )
    assert "far above" not in said_last


def test_plants_of_which_none_is_found_or_another_row_that_fails_leave_the_number_open(small):
    none, other = Row(15, PLANTED, "fail", 0.0, "none"), Row(5, "a row", "fail", 3.0, "three")
    some = replace(none, value=0.8)
    for rows in ((none,), (other,), (some, other), (other, some)):
        assert str(replace(small, panel=Panel(rows, 8))).endswith("may be far above it.")
    flagged = replace(small.evaluation, flags=("short path",))
    assert str(replace(small, panel=Panel((some,), 8), evaluation=flagged)).endswith("far above it.")


def test_the_record_holds_every_verdict_and_setting(small, tmp_path):
    of, content = small.evaluation, strict(small.write(tmp_path / "deep" / "record.json"))
    assert content["schema_version"] == 1 and content["model"] == "mine" and content["suite"] == "own"
    assert content["verdicts"] == {"correct": of.correct.int().tolist(), "robust": of.robust.int().tolist()}
    assert (content["clean"]["value"], content["robust"]["value"], content["robust"]["n"]) == (
        0.8,
        of.robust_accuracy().value,
        10,
    )
    assert content["panel"] == [
        {"demand": 5, "name": "a row", "word": "pass", "value": 0.0, "sentence": "0 of 8"},
        {"demand": 15, "name": "another", "word": "not applicable", "value": None, "sentence": "no layer"},
    ]
    for row, result, rows in zip(content["attacks"], of.results, of.rows, strict=True):
        assert (
            row["attack"] == renamed(result)
            and row["settings"] == result.settings
            and row["queries"] == list(result.queries)
        )
        assert (row["attacked"], row["broken"]) == (len(rows), int(result.found.sum()))


def test_a_share_is_said_with_its_interval_where_it_has_one():
    assert (
        said(Estimate(0.5, 0.25, 0.75, 0.95, "wilson", 10)) == "50.0 % [25.0, 75.0]"
        and said(Estimate(1.0, method="exact")) == "100.0 %"
    )


@pytest.mark.parametrize("text, eps", [("0.3", 0.3), ("8/255", 8 / 255), (" 1 ", 1.0), ("1e-2", 0.01)])
def test_a_budget_is_a_number_or_a_fraction(text, eps):
    assert math.isclose(budget(text), eps, rel_tol=1e-12)


@pytest.mark.parametrize(
    "text, sentence",
    [
        (
            "8/0",
            "eps = '8/0' is not possible: give a number such as 0.3, or a fraction such as 8/255 (pixel "
            "units).",
        ),
        (
            "many",
            "eps = 'many' is not possible: give a number such as 0.3, or a fraction such as 8/255 (pixel "
            "units).",
        ),
        (
            "nan",
            "eps = 'nan' is not possible: give a number such as 0.3, or a fraction such as 8/255 (pixel "
            "units).",
        ),
        ("-0.1", "eps = -0.1 is not possible: a budget is a number above 0 (pixel units)."),
        ("0", "eps = 0 is not possible: a budget is a number above 0 (pixel units)."),
        (
            "inf",
            "eps = 'inf' is not possible: give a number such as 0.3, or a fraction such as 8/255 (pixel "
            "units).",
        ),
    ],
)
def test_any_other_budget_is_one_sentence(text, sentence):
    with pytest.raises(UserError) as caught:
        budget(text)
    assert str(caught.value) == sentence
