"""Every chapter at the quick profile, executed once: what it prints, what it costs, and that cells and sections can
be run again.
"""

import json
import math
import re
from pathlib import Path

import executing
import pytest
from make_expected import checked, printed

from causalnb import ledger, runner

HERE = Path(__file__).parent
CHAPTERS = list(runner.chapters().values())
each_chapter = pytest.mark.parametrize("one", CHAPTERS, ids=[one.name for one in CHAPTERS])
BUDGET = {  # CPU seconds and bytes of a quick run on a core of its own
    "bench": (30, 1.5e9),
    "ace": (30, 1.5e9),
    "counterfactual": (30, 1.5e9),
    "intervention": (45, 1.5e9),
    "alignment": (40, 1.5e9),
    "purification": (45, 1.5e9),
}
OUTSIDE = {  # rows that look at data from outside
    "counterfactual": {f"erratum.{one}" for one in ("E5", "E10", "E13", "E14", "E16", "E27")}
}
TRAINED = 0.1  # how far what a training decides may lie from the expected value, absolute and relative: another processor
# rounds otherwise, and a few images of a small set then fall otherwise
STRETCHED = 3  # CPU seconds of a slow machine whose neighbours share its caches and units, over those meant


def expected_of(one):
    return json.loads((HERE / f"{one.source.stem}.expected.json").read_text(encoding="utf-8"))


def is_near(value, expected):
    return math.isclose(float(value), float(expected), rel_tol=TRAINED, abs_tol=TRAINED)


def is_alike(line, expected):
    """Whether two printed lines are the same but for numbers that are near."""
    words, others = (re.split(r"(-?\d+\.\d+)", one) for one in (line, expected))
    return words[::2] == others[::2] and all(map(is_near, words[1::2], others[1::2]))


def unlike(found, lines):
    """Of the expected lines "id value" those that the record has otherwise: by more than rounding, where no training
    decides.
    """
    known = {id.removeprefix(f"{found.chapter}."): one.estimate for id, one in found.measurements.items()}
    told = []
    for id, _, text in (line.rpartition(" ") for line in lines):
        if (one := known.get(id)) and not (
            f"{one.value:.{len(text.partition('.')[2])}f}" == text
            or (one.method != "logic" and is_near(one.value, text))
        ):
            told.append(f"{id}: {one.value}, not {text}")
    return told


def test_a_value_that_is_near_is_alike_and_another_is_not():
    assert is_alike("pixels.auc.S1 0.45", "pixels.auc.S1 0.39") and is_alike(
        "C1 1.250 (-0.1)", "C1 1.251 (-0.1)"
    )
    assert not is_alike("pixels.auc.S1 0.55", "pixels.auc.S1 0.39") and not is_alike("check.a 1", "check.a 0")
    assert not is_alike("check.b 1", "check.a 1") and not is_alike("a 1.0 2.0", "a 1.0")


@pytest.fixture
def executed(shared, counted):
    """A function that gives a chapter's one execution, whoever made it."""

    def of(one):
        done, made = executing.once(one, shared / "executed")
        if made:
            counted(one.name, "whole, from an empty store", done.seconds)
        return done

    return of


@each_chapter
def test_a_chapter_runs_from_an_empty_store_and_prints_what_is_expected(one, executed):
    lines = expected_of(one)
    assert lines and all(lines)
    done = executed(one)
    assert done.code == 0, done.out[-3000:]
    assert unlike(done.record, [line for cell in lines for line in cell]) == []
    assert set(done.record.parameters.items()) >= {("profile", "quick"), ("seed", 0)}


@each_chapter
def test_a_quick_run_keeps_to_its_budget(one, executed):
    made, (cpu_seconds, peak) = executed(one).record, BUDGET[one.name]
    assert made.cpu_seconds <= STRETCHED * cpu_seconds
    assert made.peak_memory <= peak


@each_chapter
def test_a_quick_run_decides_every_erratum_remark_and_step_of_logic(one, executed):
    verdicts = ledger.judge(ledger.load(one.name), executed(one).record)
    open_ = {
        x.row.id for x in verdicts if x.row.kind in ("erratum", "logic", "remark") and x.word == "not run"
    }
    assert open_ == OUTSIDE.get(one.name, set())


@each_chapter
def test_cells_twice_and_sections_in_any_order_measure_and_print_the_same(one, executed, counted):
    done = executed(one)
    notebook, made, seconds = executing.again(one, done)
    counted(one.name, "each cell twice, then sections in another order, on what was kept", seconds)
    first = done.record.measurements
    assert made.measurements.keys() == first.keys()
    assert [
        id
        for id, now in made.measurements.items()
        if (now.estimate, now.data, now.what, now.rows)
        != (first[id].estimate, first[id].data, first[id].what, first[id].rows)
    ] == []
    assert [section.name for section in made.sections] == [section.name for section in done.record.sections]
    expected = dict(
        zip((cell.source for cell in checked(runner.convert(one))), expected_of(one), strict=True)
    )
    again = checked(notebook)
    assert len(again) == 3 * len(expected)
    for cell in again:
        lines = printed(cell).splitlines()
        assert len(lines) == len(expected[cell.source])
        assert [pair for pair in zip(lines, expected[cell.source], strict=True) if not is_alike(*pair)] == []
    assert made.sources["notebook"] == runner.cells(one), "a run with cells run again is fresh"
