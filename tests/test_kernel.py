"""What is asked is what is used: by `-p`, by papermill, by a cell, by the notebook's own text."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from papermill import PapermillExecutionError

from causalnb import UserError, data, kernel, runner
from causalnb.cli import typed
from causalnb.parameters import Parameters, parameter

MISSING = (
    r"^notebooks/01_ace.md has no cell with the tag `parameters`, so eps = 0.2 would not be used: put the "
    r"tag back on the cell that lists the parameters \(`:tags: \[parameters\]`\).$"
)
UNUSED = r"^eps = 0.2 was asked, but the notebook would run with 0.3: the tag `parameters` is missing"
generated = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def without_tag(folder):
    file = folder / "notebooks" / "01_ace.md"
    file.write_text(file.read_text().replace(":tags: [parameters]\n", ""))
    return file


def late_tag(folder):
    """The cell of parameters stands behind the cell of begin."""
    file = folder / "notebooks" / "01_ace.md"
    head, cell, rest = file.read_text().partition("```{code-cell} ipython3\n:tags: [parameters]")
    parameters, begin, more = rest.split("```\n", 2)
    file.write_text(f"{head}{begin.lstrip()}```\n\n{cell}{parameters}```\n{more}")


def plain(inline, tmp_path, **asked):
    """How plain papermill ends, which knows nothing of the runner."""
    with pytest.raises(PapermillExecutionError) as caught:
        inline(runner.convert(runner.chapter("01")), str(tmp_path / "out.ipynb"), asked)
    assert not list(Path().rglob("record.json"))
    return caught.value.evalue


def test_a_dropped_tag_is_a_sentence_before_a_kernel_starts_and_the_run_before_stays(book, inline):
    before = runner.run(runner.chapter("ace"), {"profile": "laptop", "data": "digits"})
    without_tag(book())
    with pytest.raises(UserError, match=MISSING):
        runner.run(runner.chapter("ace"), {"profile": "quick", "eps": 0.2})
    with pytest.raises(UserError, match="so profile = 'laptop' would not be used"):
        runner.run(runner.chapter("ace"), {"data": "digits", "profile": "laptop"})
    assert [run.record for run in runner.local(runner.chapter("ace"))] == [before.record]


def test_plain_papermill_refuses_a_dropped_tag_too(book, inline, tmp_path):
    without_tag(book())
    said = plain(inline, tmp_path, eps=0.2)
    assert said.startswith("eps = 0.2 was asked, but the notebook would run with 0.3")


@pytest.mark.parametrize("asked", [{"eps": 0.2}, {"profile": "laptop", "data": "digits"}])
def test_parameters_behind_begin_are_refused_by_both(book, inline, tmp_path, asked):
    late_tag(book())
    with pytest.raises(UserError, match="was asked, but the notebook would run with"):
        runner.run(runner.chapter("ace"), asked)
    assert "was asked, but the notebook would run with" in plain(inline, tmp_path, **asked)


@pytest.mark.parametrize(
    "cells", [("eps = 0.3", "BEGIN"), ('from causalnb.notebook import begin\nrun = begin("ace", eps=0.3)',)]
)
def test_a_name_that_another_cell_sets_again_is_refused(book, inline, cells):
    book(*(book.begin if cell == "BEGIN" else cell for cell in cells), "run.finish()")
    with pytest.raises(UserError, match=UNUSED):
        runner.run(runner.chapter("ace"), {"eps": 0.2})


def test_an_unknown_name_in_the_injected_cell_is_refused(book, inline, tmp_path):
    said = plain(inline, tmp_path, epss=0.2)
    assert said.startswith("epss is not a parameter of this chapter; did you mean eps?")


def test_a_cell_of_one_s_own_that_begins_like_papermill_s_asks_nothing(book, inline, tmp_path):
    book("# Parameters of my attack\neps_of_mine = 1", book.begin, book.measure, "run.finish()")
    assert runner.run(runner.chapter("ace"), {}).record.parameters["eps"] == 0.3


@generated
@given(
    asked=st.sampled_from([0.1, 0.2, 0.3]),
    tag=st.sampled_from(["first", "late", "none"]),
    again=st.sampled_from([None, 0.1, 0.2]),
    keyword=st.sampled_from([None, 0.1, 0.3]),
)
def test_whatever_a_notebook_looks_like_what_was_asked_is_recorded_or_refused(
    book, inline, asked, tag, again, keyword
):
    begin = book.begin.replace('"ace"', f'"ace", eps={keyword}' if keyword else '"ace"')
    folder = book(begin if again is None else f"eps = {again}\n{begin}", book.measure, "run.finish()")
    {"first": lambda _: None, "late": late_tag, "none": without_tag}[tag](folder)
    used = keyword or again or (asked if tag == "first" else 0.3)
    one, before = runner.chapter("ace"), len(runner.local(runner.chapter("ace")))
    if used == asked and tag != "none":
        assert runner.run(one, {"eps": asked}).record.parameters["eps"] == asked
    else:
        with pytest.raises(UserError, match="no cell with the tag|was asked, but the notebook would run"):
            runner.run(one, {"eps": asked})
        assert len(runner.local(one)) == before


class Small(Parameters):
    eps: float = parameter(0.3, "the attack budget", unit="pixel units", gt=0, le=1)
    check: bool = parameter(True, "whether to check")
    data: str = parameter("digits", "data sets, separated by commas")
    n_images: int = parameter(20, "images", ge=1)


@given(st.sampled_from(["eps", "n_images", "seed"]), st.integers(1, 5), st.integers(1, 5))
@generated
def test_require_used_is_silent_only_where_both_are_equal(name, first, second):
    given = {name: first / 10 if name == "eps" else first}
    p = Small.resolve({name: second / 10 if name == "eps" else second})
    if first == second:
        kernel.require_used(given, p)
    else:
        with pytest.raises(UserError, match=f"^{name} = .* was asked, but the notebook would run with"):
            kernel.require_used(given, p)


def test_true_is_not_one():
    with pytest.raises(UserError, match="check = 1 was asked, but the notebook would run with True"):
        kernel.require_used({"check": 1}, Small.resolve({}))


VALUES = st.one_of(
    st.integers(-3, 3),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=8),
    st.sampled_from(["(" * 300, "1" * 5000, "\0", "a\nb", "\x1b[31m", "0.2", "True", "'0.2'", "[1]"]),
)


@generated
@given(
    st.sampled_from(["eps", "profile", "seed", "x y", "", "data"]),
    VALUES,
    VALUES,
    st.sampled_from([None, "laptop"]),
)
def test_one_name_with_two_values_is_refused_and_with_one_is_kept(name, first, second, profile):
    pairs = [f"{name}={first}", f"{name}={second}"]
    said = [typed.unquoted(str(value)) for value in (first, second)]
    asked = [data.listed(text) for text in said] if name == "data" else said
    asked += [profile] if profile and name == "profile" else []
    if len(set(asked)) == 1:
        found = typed.values(pairs, profile)
        assert found[name] == asked[0] and found["profile"] == (
            asked[0] if name == "profile" else profile or "quick"
        )
    else:
        with pytest.raises(UserError, match="were both asked: give one of them"):
            typed.values(pairs, profile)


@generated
@given(st.sampled_from(["data", "eps", "seed", "device", "profile", "n_images", "x y", "a\nb"]), VALUES)
def test_any_value_is_taken_as_it_is_or_refused_in_one_line(book, name, value):
    try:
        p = runner.check(runner.chapter("ace"), {name: value})
    except UserError as error:
        assert len(str(error).splitlines()) == 1 and (name in str(error) or repr(name) in str(error))
    else:
        taken = type(p).taken({name: value})[name]
        assert taken is None or getattr(p, name) == taken
