import csv
import sys
from pathlib import Path

import pytest
from sweeping import grid, template

from causalnb import UserError, cli, ledger, runner, sweep
from causalnb.book import launch, sweeps
from causalnb.sweep import points as named

LEDGER = """
paper: {short: s, title: t, authors: a, venue: v, year: 2026, doi: "", claims: [c]}
rows:
- {id: RISES, kind: claim, location: x, statement: It is above, decided_by: {measurements: [small.eps]},
   rule: {type: claim, relation: ">", than: 0.15, why: a test}}
- {id: PAPER, kind: claim, location: x, statement: It is above zero, decided_by: {measurements: [small.eps], data: mnist},
   rule: {type: claim, relation: ">", than: 0, why: a test}}
- {id: ELSE, kind: claim, location: x, statement: Not measured, decided_by: {measurements: [other.*]},
   rule: {type: claim, relation: ">", than: 0, why: a test}}
"""


@pytest.fixture
def said(book, monkeypatch):
    """A sweep of eps and seed in the book's runs, one point of which has no record."""
    monkeypatch.setattr(ledger, "load", lambda name: ledger.parse(name, LEDGER))
    one = runner.chapter("ace")
    for name, value in (("eps-seed", 0.0), ("other", 0.05)):
        points = [{"profile": "quick", **point} for point in grid(0.1, 0.2, 0.3, seeds=2)]
        home = Path(f"runs/ace/sweep-{name}")
        named.to_file(points, home / "points.csv")
        for point in points[:-1]:
            made = template(runner.cells(one), eps=point["eps"], seed=point["seed"])
            estimate = made.measurements["small.eps"].estimate
            object.__setattr__(estimate, "value", point["eps"] + value)
            made.write(home / named.named(point) / "record.json")
            (home / named.named(point) / "ace.ipynb").write_text("{}")
    return sweep.find("eps-seed")


def table(file):
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_numbers_and_rules_are_tables_with_a_line_a_point(said):
    numbers, rules = (table(file) for file in said.write() if file.suffix == ".csv")
    assert len(numbers) == 5 and said.missing == ["eps=0.3,seed=1"] and said.stale == ()
    assert numbers[0] == {
        "point": "eps=0.1,seed=0",
        "eps": "0.1",
        "seed": "0",
        "measurement": "small.eps",
        "value": "0.1",
        "low": "",
        "high": "",
        "level": "",
        "n": "",
        "data": "digits",
    }
    assert [(one["point"], one["row"], one["rule"], one["word"]) for one in rules[:2]] == [
        ("eps=0.1,seed=0", "RISES", "fails", "not reproduced"),
        ("eps=0.1,seed=0", "PAPER", "holds", "transferred"),
    ]


def test_the_tables_are_parquet_too_where_pyarrow_is(said):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    (file,) = [file for file in said.write() if file.name == "numbers.parquet"]
    assert parquet.read_table(file).column("value").to_pylist()[0] == 0.1


def test_a_rule_flips_between_two_neighbours_and_never_where_it_stays(said):
    assert [str(flip) for flip in said.flips()] == ["RISES: fails at eps = 0.1, holds at 0.2 (2 of 2)"]
    assert said.summary() == [
        ("RISES", "3 holds, 2 fails", "3 reproduced, 2 not reproduced"),
        ("PAPER", "5 holds", "5 transferred"),
    ]


def test_a_figure_has_a_line_for_each_choice_of_the_rest(said):
    (axes,) = said.figure("small.eps", "eps").axes
    drawn = {line.get_label(): list(line.get_xdata()) for line in axes.lines if line.get_label()[0] != "_"}
    assert drawn == {"seed 0": [0.1, 0.2, 0.3], "seed 1": [0.1, 0.2]}
    with pytest.raises(UserError, match="data is no number that varies here: give one of eps, seed."):
        said.figure("small.eps", "data")
    with pytest.raises(UserError, match="small.x was not measured in this sweep; measured were small.eps."):
        said.figure("small.x", "eps")


def test_two_sweeps_are_compared_point_by_point(said):
    rows = sweep.compare(said, sweep.find("ace/other"))
    assert [(row.id, row.word) for row in rows][0] == ("eps=0.1,seed=0  small.eps", "different")
    assert len(rows) == 5 and {round(row.difference, 9) for row in rows} == {0.05}


def test_a_sweep_that_is_none_is_a_sentence_that_names_those_that_are(said):
    with pytest.raises(
        UserError, match="none is no sweep of this machine: give one of ace/eps-seed, ace/other"
    ):
        sweep.find("none")


def test_show_and_compare_print_what_is_said(said, monkeypatch, capsys):
    for arguments in (["show", "eps-seed", "--figure", "small.eps"], ["show", "runs/ace/sweep-other"]):
        monkeypatch.setattr(sys, "argv", ["causalnb", "sweep", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "RISES  3 holds, 2 fails  3 reproduced, 2 not reproduced"
    assert shown[2].startswith("flips: RISES: fails at eps = 0.1")
    assert shown[3].startswith(
        "5 of 6 points have a record, 0 of them stale; written: runs/ace/sweep-eps-seed/"
    )
    assert (said.swept.home / "small.eps.svg").read_text().startswith("<svg")
    monkeypatch.setattr(
        sys, "argv", ["causalnb", "compare", "runs/ace/sweep-eps-seed", "runs/ace/sweep-other"]
    )
    with pytest.raises(SystemExit):
        cli.main()
    assert "5 measurements: 0 same, 5 different" in capsys.readouterr().out


def test_the_page_of_sweeps_tells_each_and_leaves_out_what_cannot_be_read(said, capsys):
    Path("runs/ace/sweep-broken").mkdir()
    Path("runs/ace/sweep-broken/points.csv").write_text("")
    (title, content), (other, _) = sweeps.told()
    assert (title, other) == ("ace: eps-seed", "ace: other")
    assert "RISES: fails at eps = 0.1, holds at 0.2 (2 of 2)" in content and "5 of 6 points" in content
    assert "left out: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "address, opened",
    [
        ('""', {}),
        ("https://example.org/x", {}),
        (
            "https://github.com/who/book",
            {"Binder": "gh/who/book/main", "Colab": "who/book/blob/main/book/published"},
        ),
    ],
)
def test_a_chapter_can_be_opened_elsewhere_once_the_book_has_an_address(book, address, opened):
    root = book()
    text = f"sphinx: {{config: {{html_theme_options: {{repository_url: {address}}}}}}}\n"
    (root / "_config.yml").write_text(text)
    one = runner.chapter("ace")
    run = runner.Executed(root, root / "book/published/ace/laptop-cpu/ace.ipynb", None)
    found = launch.links(root, one, run)
    assert found.keys() == opened.keys() and all(part in found[name] for name, part in opened.items())
    assert "Colab" not in launch.links(root, one, None)
