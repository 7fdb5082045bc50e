import re
import shlex
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from causalnb import console, fragments, ledger, record, runner
from causalnb.cli import typed
from causalnb.fragments import wording
from causalnb.parameters import Parameters, parameter
from causalnb.statistics import Estimate, logic

PAPER = (
    'paper: {short: A. 2024, title: "Causes & <effects>", authors: A. Author, venue: V, year: 2024, '
    "doi: "
    '10.1/x, claims: [One., "Two, in `code`.", Three.]}'
)
FRESH, NEVER = runner.State("fresh"), runner.State("never run")
STALE = runner.State("stale", ("causalnb/maps.py", "torch 2.12 → 2.13"))
VOID = {"br", "input", "img", "wbr", "path"}


def row(
    id,
    kind="cell",
    *,
    printed="0.50",
    rule="{type: cell}",
    tol="{of: sd, n: null, seeds: null, why: rounding}",
    by="id",
    **more,
):
    table = more.pop("table", "")
    extra = "".join(f", {name}: {value}" for name, value in more.items())
    decided = f", decided_by: {{measurements: ['{id if by == 'id' else by}'], least: laptop}}" if by else ""
    return (
        f"- {{id: {id}, kind: {kind}, location: 'Sec. <1>', statement: 'about {id} & <it>', printed: "
        f"'{printed}', rule: {rule}"
        + (f", tol: {tol}" if tol else "")
        + (f", table: {table}" if table else "")
        + decided
        + extra
        + "}"
    )


def made(rows, measured, profile="laptop"):
    """The verdicts on rows, and the record of some measurements, all of them matching the rules as they
    stand.
    """
    book = ledger.parse("ace", PAPER + "\nrows:\n" + "\n".join(rows))
    digests = {id: {row.id: row.digest for row in book.rows if row.decides(id)} for id in measured}
    found = {
        id: record.Measurement(estimate=one, what=f"what {id} is", rows=digests[id])
        for id, one in measured.items()
    }
    one = record.Record(
        chapter="ace",
        profile=profile,
        edition="0.1.0",
        parameters={"n_images": 100},
        measurements=found,
        sections=[],
        source_digest="",
        sources={},
        environment={"versions": {"torch": "2.13.0"}, "accelerator": ""},
        seeds=[0],
        device="cpu",
        threads=2,
        data={},
        store=[],
        commit="0123456789",
        started="2026-11-20T10:00:00+00:00",
        finished="2026-11-20T10:41:12+00:00",
        seconds=2472.0,
        cpu_seconds=1.0,
        peak_memory=1_900_000_000,
    )
    return book, ledger.judge(book, one), one


def near(value, width=0.001, **more):
    return Estimate(value, value - width, value + width, 0.95, "bootstrap mean", n=100, seeds=(0, 1), **more)


def place(line, column, group="MNIST"):
    return f"{{table: Table I, row: {line}, group: {group}, column: {column}}}"


class Read(HTMLParser):
    """Checks that what was opened is closed; collects attributes and text."""

    def __init__(self, source):
        super().__init__()
        self.open, self.elements, self.words = [], [], ""
        self.feed(str(source))
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data

    def all(self, tag, name):
        return [
            attributes[name] for found, attributes in self.elements if found == tag and name in attributes
        ]


def shown():
    """One reading that fits, one far away, one not measured, many readings that disagree, a claim and an
    erratum.
    """
    rows = [
        row("t.a", table=place("Clean", "S")),
        row("t.b", table=place("Clean", "TV")),
        row("t.c", table=place("PGD", "S")),
        row("t.d", by="t.d.*", table=place("PGD", "TV")),
        row(
            "claim.T6",
            "claim",
            printed="",
            tol="",
            rule='{type: claim, relation: ">", than: 0, why: stated}',
            quote="'areas & <parts> are sparser'",
        ),
        row(
            "erratum.E4",
            "erratum",
            printed="",
            tol="",
            rule="{type: equal}",
            quote="a mean effect",
            holds="it is `0`",
        ),
    ]
    values = {"t.a": 0.501, "t.b": 0.9, "t.d.R1.x": 0.5, "t.d.R2.x": 0.9, "t.d.R3.x": 0.1, "claim.T6": 0.2}
    return made(rows, {id: near(value) for id, value in values.items()} | {"erratum.E4": logic(False)})


# Numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "decimals", "told"),
    [
        (0.66449, 3, "0.664"),
        (-0.2, 2, "−0.20"),
        (-0.0001, 3, "0.000"),
        (3e-16, None, "3 × 10<sup>−16</sup>"),
        (1e-12, None, "10<sup>−12</sup>"),
        (0.0, None, "0.00"),
        (60.324, None, "60.3"),
        (12345.6, None, "12346"),
    ],
)
def test_numbers_have_the_decimals_of_what_is_printed_and_a_real_minus(x, decimals, told):
    assert wording.value(x, decimals) == told


def test_an_interval_in_a_cell_has_no_leading_zeros_and_no_brackets():
    assert wording.ends(0.73, 0.773, 3) == ".730, .773"
    assert wording.ends(-0.05, 10.5, 2) == "−.05, 10.50"


def test_what_comes_from_outside_is_escaped_wherever_it_is_shown():
    book, verdicts, run = shown()
    part = fragments.Part("1", "ace", "A <title>", "a.html", "It's <so>.", book.paper, verdicts)
    pages = [
        fragments.card(book.paper, verdicts, run, STALE),
        fragments.verdicts(verdicts, (), run),
        fragments.parts([part]),
        fragments.matrix([part]),
        fragments.rows([part]),
        fragments.status([("<x>", run, STALE)], "A <y>. So."),
        fragments.note("t.a", run, "m-1", "A <so> number"),
        fragments.figure("", "A `<z>`."),
    ]
    for page in pages:
        assert not re.search(r"<(it|1|effects|title|so|x|y|z|parts)>", page)
        Read(page)


# Verdicts -------------------------------------------------------------------------------------------------


def test_a_verdict_is_symbol_and_word_and_the_symbol_is_hidden_from_screen_readers():
    symbol = '<span class="cn-s" aria-hidden="true">✕</span>'
    assert (
        fragments.verdict("not reproduced")
        == f'<span class="cn-v" data-v="not-reproduced">{symbol} not reproduced</span>'
    )


def test_a_bar_draws_what_occurs_and_its_key_lists_all_six():
    of = dict.fromkeys(ledger.WORDS, 0) | {"reproduced": 3, "not run": 1}
    drawn = Read(fragments.bar(of))
    assert drawn.all("i", "style") == ["--n:3", "--n:1"]
    assert drawn.all("div", "aria-label") == ["4 printed cells: 3 reproduced, 1 not run"]
    assert (
        Read(fragments.key(of)).words
        == "✓ 3 reproduced✕ 0 not reproduced◐ 0 undecided⊘ 0 cannot judge→ 0 transferred○ 1 not runof 4 printed cells"
    )


def test_what_came_out_stands_on_the_card_over_the_bar_and_in_the_landing_list():
    book, verdicts, run = shown()
    told = book.paper.model_copy(update={"outcome": "No <reading> gives it."})
    card = fragments.card(told, verdicts, run, FRESH)
    assert '<p class="cn-outcome">No &lt;reading&gt; gives it.</p><div><div class="cn-bar"' in card
    part = fragments.Part("1", "ace", "Effects", "ace.html", "A sentence.", told, verdicts)
    assert "A sentence.No <reading> gives it." in Read(fragments.parts([part])).words
    assert "cn-outcome" not in fragments.card(book.paper, verdicts, run, FRESH)


def test_the_card_counts_printed_cells_alone_and_tells_the_run():
    book, verdicts, run = shown()
    card = Read(fragments.card(book.paper, verdicts, run, FRESH))
    assert card.all("div", "aria-label") == [
        "4 printed cells: 1 reproduced, 1 not reproduced, 1 cannot judge, 1 not run"
    ]
    assert all(
        told in card.words
        for told in (
            "20 November 2026",
            "CPU, 2 threads",
            "41 min 12 s",
            "● fresh",
            "causalnb run ace --profile laptop",
        )
    )
    assert "<code>code</code>" in fragments.card(book.paper, verdicts, run, FRESH)
    assert "never run" in fragments.card(book.paper, ledger.judge(book, None), None, NEVER)


@pytest.mark.parametrize(
    ("seconds", "told"), [(38.2, "38 s"), (2472, "41 min 12 s"), (8040, "2 h 14 min"), (59.9, "1 min 00 s")]
)
def test_durations_read_as_one_says_them(seconds, told):
    assert fragments.duration(seconds) == told


# The strip ------------------------------------------------------------------------------------------------


def test_a_strip_places_point_and_interval_in_tolerances():
    assert 'style="--x:0.50;--a:-1.00;--b:2.00"' in fragments.strip(0.55, 0.4, 0.7, 0.5, 0.1)


@pytest.mark.parametrize(("point", "css"), [(9.0, "cn-strip hi"), (-9.0, "cn-strip lo"), (0.1, "cn-strip")])
def test_what_lies_off_the_scale_is_an_arrow_at_its_end(point, css):
    strip = Read(fragments.strip(point, -9.0, 9.0, 0.0, 1.0))
    assert strip.all("span", "class") == [css]
    assert "--a:-2.90;--b:2.90" in strip.all("span", "style")[0]


def test_many_readings_are_a_stroke_each_and_those_off_the_scale_an_arrow():
    drawn = Read(fragments.strokes([0.5, -1.25, 7.0]))
    assert drawn.all("path", "d") == ["M-1.25 0v1M0.5 0v1"]
    assert drawn.all("span", "class") == ["cn-strip many hi"]


# A table done again ---------------------------------------------------------------------------------------


def cells(source):
    """Column -> the words of its cells."""
    parts = re.findall(r'<td role="cell" data-col="([^"]+)" data-v="([^"]+)">(.*?)</td>', source, re.DOTALL)
    return {
        (name.replace("\n", " "), word): " ".join(Read(inside).words.split()) for name, word, inside in parts
    }


def test_a_cell_says_printed_ours_interval_and_verdict_with_the_decimals_of_printed():
    _, verdicts, run = shown()
    found = cells(fragments.verdicts(verdicts, ("Table I",), run))
    assert found["MNIST S", "reproduced"] == "printed 0.50✓ours 0.50from .50, .50reproduced"
    assert found["MNIST TV", "not-reproduced"] == "printed 0.50✕ours 0.90from .90, .90not reproduced"
    assert found["MNIST S", "not-run"] == "printed 0.50○ours not runnot run"


@pytest.mark.parametrize(
    ("printed", "decimals"),
    [("0.50", 2), ("71", 0), ("95.23%", 2), ("03/100", 2), ("169/300", 3), ("many", None)],
)
def test_a_counted_share_has_the_decimals_that_tell_one_count_from_the_next(printed, decimals):
    row = shown()[1][0].row.model_copy(update={"printed": printed})
    assert fragments.judged.decimals_of(row) == decimals


def test_a_cell_of_many_readings_says_how_many_are_inside_and_their_range():
    book, verdicts, run = shown()
    table = fragments.verdicts(verdicts, ("Table I",), run)
    assert cells(table)["MNIST TV", "cannot-judge"] == "printed 0.50⊘ours 1/3from .10, .90cannot judge"
    assert "1 reproduced, 2 not reproduced" in table
    beside = fragments.grid(ledger.judge(book, run.model_copy(update={"profile": "quick"}))[:4], run)
    assert "printed 0.50○ours 3 r.readingsfrom .10, .90not run" in cells(beside).values()


def test_every_popover_that_a_page_opens_is_there_once():
    _, verdicts, run = shown()
    page = Read(fragments.verdicts(verdicts, (), run))
    opened, there = page.all("button", "popovertarget"), [a["id"] for _, a in page.elements if "popover" in a]
    assert sorted(opened) == sorted(there) == sorted(set(there))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_a_note_tells_interval_sample_seeds_device_date_and_command():
    _, verdicts, run = shown()
    told = Read(fragments.note("t.a", run, "m-1")).words
    facts = [
        "what t.a is",
        "0.501 [0.500, 0.502], 95 %, bootstrap mean",
        "100",
        "0, 1",
        "CPU, 2 threads",
        "20 November 2026",
        "commit 0123456",
    ]
    assert not [fact for fact in [*facts, "causalnb run ace --profile laptop"] if fact not in told]
    row = Read(fragments.verdicts(verdicts, ("Table I",), run)).words
    assert "printed ± 0.005. rounding" in row


def test_the_title_of_a_note_is_what_is_said_of_the_number_else_its_record_says_else_its_id():
    _, _, run = shown()
    bare = run.measurements["t.a"].model_copy(update={"what": ""})
    without = run.model_copy(update={"measurements": {"t.a": bare}})
    titles = [
        re.search("<strong>(.*?)</strong>", note)[1]
        for note in (
            fragments.note("t.a", run, "m-1", "A cell"),
            fragments.note("t.a", run, "m-1"),
            fragments.note("t.a", without, "m-1"),
        )
    ]
    assert titles == ["A cell", "what t.a is", "<code>t.a</code>"]


def test_a_column_without_a_name_has_no_empty_head():
    table = Read(fragments.plain(("", "S"), [("FGSM", "0.1")], "A table."))
    assert [a["role"] for tag, a in table.elements if tag in ("th", "td")][:2] == ["cell", "columnheader"]


def test_a_rule_that_changed_after_the_run_is_said():
    book, _, run = shown()
    old = {
        id: one.model_copy(update={"rows": {"t.a": "another digest"}}) for id, one in run.measurements.items()
    }
    verdicts = ledger.judge(book, run.model_copy(update={"measurements": old}))
    assert "the rule changed after the run" in fragments.verdicts(verdicts[:1], ("Table I",), run)
    assert "the rule changed after the run" not in fragments.verdicts(shown()[1], ("Table I",), run)


def test_a_percentage_printed_stands_beside_a_share_in_percent():
    _, verdicts, run = made(
        [row("a", printed="95.2%", unit="'%'", table=place("LeNet", "accuracy"))], {"a": near(0.952, 0.0008)}
    )
    assert next(iter(cells(fragments.grid(verdicts, run)).values())).startswith(
        "printed 95.2%✓ours 95.2from 95.1, 95.3"
    )


def test_a_table_of_a_ledger_is_drawn_by_its_positions_with_groups_over_columns():
    _, verdicts, run = shown()
    table = Read(fragments.grid(verdicts[:4], run))
    assert table.all("th", "colspan") == ["2"]
    assert [a["role"] for tag, a in table.elements if tag == "th"] == ["columnheader"] * 3 + ["rowheader"] * 2


# Claims, errata, checks -----------------------------------------------------------------------------------


RISES = '{type: claim, relation: ">", than: 0, why: stated}'


def said(id, statement, **more):
    """A claim with a statement of its own; `.*` after its id are its readings."""
    return row(id, "claim", printed="", tol="", rule=RISES, by=f"{id}.*", **more).replace(
        f"'about {id} & <it>'", f"'{statement}'"
    )


def lines(source):
    """The words of each line of the tables."""
    return [
        "|".join(
            " ".join(Read(cell).words.split())
            for cell in re.findall(r"<(?:th|td|caption).*?</(?:th|td|caption)>", line)
        )
        for line in re.findall(r"<caption>.*?</caption>|<tr.*?</tr>", source)
    ]


def test_of_the_readings_of_a_claim_those_that_are_open_are_told():
    _, verdicts, run = made(
        [said("claim.T6.a", "S rises")], {"claim.T6.a.x": near(-0.2), "claim.T6.a.y": near(0.0, 1.0)}
    )
    assert "holds in 0 of 2 readings, open in 1" in lines(fragments.verdicts(verdicts, ("claim",), run))[0]


def test_a_claim_stands_in_the_papers_words_over_its_parts():
    _, verdicts, run = made(
        [said(f"claim.T6.{part}", f"S of {part} rises", quote="sparser") for part in ("a", "b")],
        {"claim.T6.a.x": near(0.2), "claim.T6.a.y": near(-0.2), "claim.T6.b.x": near(0.123456)},
    )
    source = fragments.verdicts(verdicts, ("claim",), run)
    claims = Read(source)
    assert claims.words.count("sparser") == 1
    assert lines(source) == [
        "T6.a S of a rises, n = 100|⊘ cannot judge holds in 1 of 2 readings",
        "T6.b S of b rises, n = 100|✓ reproduced 0.123 [.122, .124]",
    ]
    assert [a["id"] for _, a in claims.elements if a.get("class") == "part"] == ["claim.T6.a", "claim.T6.b"]


def test_statements_that_differ_in_names_alone_stand_once_over_a_table_of_the_names():
    parts = [
        ("mnist.cw", "MNIST, C&W"),
        ("mnist.pgd", "MNIST, PGD"),
        ("cifar.cw", "CIFAR, C&W"),
        ("cifar.pgd", "CIFAR, PGD"),
    ]
    _, verdicts, run = made(
        [said(f"claim.T6.{id}", f"{names}: S, Eq. (9), rises") for id, names in parts],
        {"claim.T6.mnist.cw.x": near(0.2), "claim.T6.mnist.pgd.x": near(-0.2)},
    )
    source = fragments.verdicts(verdicts, ("claim",), run)
    assert lines(source) == [
        "T6 S, Eq. (9), rises Sec. <1>, n = 100",
        "|C&W|PGD",
        "MNIST|✓ reproduced 0.200 [.199, .201]|✕ not reproduced −0.200 [−.201, −.199]",
        "CIFAR|○ not run|○ not run",
    ]
    cells = [a for _, a in Read(source).elements if a.get("class") == "part"]
    assert [(a["id"], a["data-col"], a["data-v"]) for a in cells] == [
        (f"claim.T6.{id}", names[-3:], word)
        for (id, names), word in zip(
            parts, ("reproduced", "not-reproduced", "not-run", "not-run"), strict=True
        )
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("MNIST", "CIFAR"), ["MNIST", "CIFAR"]),
        (("MNIST, S", "CIFAR, TV"), ["MNIST, S", "CIFAR, TV"]),
        (("MNIST", "MNIST"), ["claim.T0", "claim.T1"]),
    ],
)
def test_parts_that_no_full_table_holds_stand_in_a_line_each(names, expected):
    _, verdicts, run = made([said(f"claim.T{i}", f"{name}: S rises") for i, name in enumerate(names)], {})
    assert [
        line.partition("|")[0] for line in lines(fragments.verdicts(verdicts, ("claim",), run))[1:]
    ] == expected


def beside_noise(measured):
    """A claim of two names and two readings, and the noise beside it."""
    parts = [("cw", "MNIST, C&W"), ("pgd", "MNIST, PGD")]
    rows = [said(f"claim.T6.{id}", f"{names}: S rises", placebo=f"noise.T6.{id}") for id, names in parts]
    rows += [
        said(f"noise.T6.{id}", f"{names}: S rises under noise").replace("kind: claim", "kind: control")
        for id, names in parts
    ]
    return made(rows, {id: near(value) for id, value in measured.items()})


def test_beside_a_claim_stands_what_its_placebo_does_and_whether_it_is_specific():
    measured = {
        **{f"claim.T6.cw.{r}": 0.2 for r in ("R1", "R2")},
        **{"noise.T6.cw.R1": 0.1, "noise.T6.cw.R2": -0.1},
        "claim.T6.pgd.R1": 0.2,
        "noise.T6.pgd.R1": 0.1,
    }
    _, verdicts, run = beside_noise(measured)
    source = fragments.verdicts(verdicts, ("claim",), run)
    assert lines(source)[-1] == (
        "MNIST|✓ reproduced holds in 2 of 2 readings placebo holds in 1 of 2 1 of 2 not specific"
        "|✓ reproduced 0.200 [.199, .201] placebo 0.100 [.0990, .101] not specific"
    )
    cells = [a["id"] for _, a in Read(source).elements if a.get("class") == "part"]
    assert cells == ["claim.T6.cw", "claim.T6.pgd"], "a placebo is no entry of its own"
    note = Read(source).words.partition("MNIST, C&W: S rises")[2]
    assert "holds inR1, R2" in note and "not specificR1" in note
    assert "S rises under noise: ⊘ cannot judge holds in 1 of 2, 1 of 2 not specific" in note


def test_a_claim_whose_placebo_does_nothing_or_was_not_run_is_not_called_unspecific():
    _, verdicts, run = beside_noise({"claim.T6.cw.R1": 0.2, "noise.T6.cw.R1": -0.1, "claim.T6.pgd.R1": 0.2})
    source = fragments.verdicts(verdicts, ("claim",), run)
    assert lines(source)[-1] == (
        "MNIST|✓ reproduced 0.200 [.199, .201] placebo −0.100 [−.101, −.0990]"
        "|✓ reproduced 0.200 [.199, .201] placebo not run"
    )
    assert "not specific" not in Read(source).words and "without a placeboR1" in Read(source).words
    controls = fragments.verdicts(verdicts, ("control",), run)
    assert "S rises under noise" in Read(controls).words, "among the controls it stands by itself"


def test_a_note_names_the_readings_inside_and_where_none_is_the_nearest():
    _, verdicts, run = shown()
    words = Read(fragments.verdicts(verdicts, ("Table I",), run)).words
    assert "insideR1.x" in words
    values = {"t.d.R1": 0.9, "t.d.R2": 0.6, "t.d.R3": 0.2, "t.d.R4": 5.0}
    _, verdicts, run = made(
        [row("t.d", by="t.d.*", table=place("PGD", "TV"))], {id: near(x) for id, x in values.items()}
    )
    assert "nearestR2, R3, R1" in Read(fragments.verdicts(verdicts, (), run)).words


def test_what_cannot_be_judged_says_why():
    rule = "{type: fixed, reason: input not published, detail: no weights}"
    _, verdicts, run = made([row("claim.T9", "claim", printed="", tol="", rule=rule, by="")], {})
    assert "cannot judge input not published: no weights" in Read(fragments.claims(verdicts, run)).words


def test_an_erratum_opens_to_printed_holds_and_what_shows_it():
    _, verdicts, run = shown()
    erratum = Read(fragments.verdicts(verdicts, ("erratum",), run))
    assert erratum.all("details", "id") == ["erratum.E4"]
    assert all(told in erratum.words for told in ("E4", "a mean effect", "it is 0", "✕ not reproduced"))


# A table as a whole ---------------------------------------------------------------------------------------


def whole(readings=10):
    """A table of two cells, and readings of which the first gives it, the last was not tried, and the others are far off."""
    names = [f"R{i}" for i in range(readings)]
    rule = f"{{type: table, cells: {{'t.*': '<cell>.<reading>'}}, readings: [{{reading: [{', '.join(names)}]}}], words: {{R0: the first}}, why: left open in <III>}}"
    rows = [row(f"t.{name}", by=f"t.{name}.*", table=place("Clean", name)) for name in "ab"]
    rows.append(row("whole", "table", printed="", tol="", rule=rule, by=""))
    values = {f"t.{cell}.{name}": 0.5 + 0.1 * i for cell in "ab" for i, name in enumerate(names[:-1])}
    return made(rows, {id: near(value) for id, value in values.items()})


def test_a_whole_table_tells_its_verdict_its_nearest_readings_and_folds_the_rest():
    _, verdicts, run = whole()
    source = fragments.verdicts(verdicts, ("table",), run)
    seen, folded = source.split("<details")
    told = Read(source).words
    assert "✓ reproduced about whole & <it> Sec. <1> of 10 readings 1 fit: the first" in told
    assert "left open in <III>" in told, "the note has what is left open"
    assert lines(seen)[2:5] == [
        "the first|2|0|0|0.00|fits",
        "R1|0|2|0|20.0|excluded",
        "R2|0|2|0|40.0|excluded",
    ]
    assert len(lines(seen)) == 2 + 4 and lines(folded)[5:] == [
        "R8|0|2|0|160|excluded",
        "R9|–|–|–|–|left, 2 cells not run",
    ]
    assert folded.startswith(' class="cn-fold"><summary>The other 6 readings</summary>')
    assert "inside of 2" in told and "1 or more of the 2 cells lie wholly outside" in told
    assert "The fewest outside are 0 (" in told


def test_a_reading_that_is_left_though_all_its_cells_were_run_says_so_in_a_word():
    book, _, run = whole(2)
    wide = near(0.5, 0.4)
    measured = {id: one.model_copy(update={"estimate": wide}) for id, one in run.measurements.items()}
    run = run.model_copy(update={"measurements": measured})
    source = fragments.verdicts(ledger.judge(book, run), ("table",), run)
    assert lines(source)[2].split("|")[-1] == "left"


def test_a_whole_table_that_was_not_run_has_no_list():
    book, _, run = whole()
    source = fragments.verdicts(ledger.judge(book, None), ("table",), run)
    assert "○ not run" in Read(source).words and "<table" not in source and "<details" not in source


def test_a_folded_selection_opens_without_script_and_tells_its_counts():
    _, verdicts, run = shown()
    source = fragments.verdicts(verdicts, ("Table I", "erratum"), run, folded=True)
    plain = fragments.verdicts(verdicts, ("Table I",), run)
    assert source.startswith(
        '<details class="cn-fold"><summary>Table I, cell by cell: 4 cells; 1 reproduced, '
    )
    assert plain in source and "1 rows; 1 not reproduced" in source


def test_a_selection_that_names_nothing_is_refused():
    _, verdicts, run = shown()
    with pytest.raises(ValueError, match="table-ii"):
        fragments.verdicts(verdicts, ("Table II",), run)


@dataclass
class Check:
    value: float
    bound: float
    holds: bool
    n: int | None = None
    id: str = "check.D4"
    what: str = "largest |mean of ACE|, `float64`"
    fails: bool = False


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (
            Check(3e-16, 1e-12, True, 7),
            "✓ holds\u2002largest |mean of ACE|, float64: 3 × 10−16 < 10−12; n = 7",
        ),
        (Check(0.2, 1e-3, False), "✕ does not hold\u2002largest |mean of ACE|, float64: 0.2 > 0.001"),
        (Check(0.0, 0.0, True), "✓ holds\u2002largest |mean of ACE|, float64: 0 = 0"),
        (
            Check(0.2, 1e-3, True, fails=True),
            "✓ fails, as expected\u2002largest |mean of ACE|, float64: 0.2 > 0.001",
        ),
        (
            Check(0.0, 1e-3, False, fails=True),
            "✕ does not fail\u2002largest |mean of ACE|, float64: 0 < 0.001",
        ),
    ],
)
def test_a_check_is_a_line_with_the_number_and_the_bound(one, told):
    assert Read(fragments.check(one)).words == told


def test_an_erratum_leads_to_the_line_of_the_check_that_shows_it_and_has_its_number():
    book, verdicts, run = shown()
    check = Check(2.0, 1.0, False, id="erratum.E4", what="paths")
    line = Read(fragments.check(check))
    told = {"erratum.E4": record.Measurement(estimate=logic(False), what=fragments.compared(check))}
    source = fragments.errata(verdicts[-1:], run.model_copy(update={"measurements": told}))
    assert (
        "paths: 2 > 1 (the cell that shows it). The printed words: fails. ✕ not reproduced"
        in Read(source).words
    )
    assert Read(source).all("a", "href") == [f"#{id}" for id in line.all("p", "id")] == ["#shown-erratum.E4"]
    assert 'popovertarget="n-erratum.E4"' in source and 'id="n-erratum.E4"' in source
    assert Read(fragments.check(Check(0.0, 1.0, True))).all("p", "id") == []


# Pages about all chapters ---------------------------------------------------------------------------------


def parts():
    book, verdicts, run = shown()
    return [
        fragments.Part("1", "ace", "Effects", "ace.html", "A sentence.", book.paper, verdicts),
        fragments.Part("0", "bench", "Bench", "bench.html", "Ours.", None, []),
    ]


def test_a_count_leads_to_exactly_the_rows_that_it_counts():
    matrix, rows = Read(fragments.matrix(parts())), Read(fragments.rows(parts()))
    listed = [
        (a["data-paper"], a["data-kind"], a["data-v"])
        for tag, a in rows.elements
        if tag == "tr" and "data-kind" in a
    ]
    links = [
        (a["data-filter"].split(" "), int(a["aria-label"].split()[0]))
        for tag, a in matrix.elements
        if tag == "a"
    ]
    assert len(links) == 8
    for (chapter, kind, word), n in links:
        assert n == sum(kind == k and word == w and chapter in ("", c) for c, k, w in listed)
    assert "all-rows" in rows.all("div", "id") and set(matrix.all("a", "href")) == {"#all-rows"}


def test_a_number_in_the_text_is_not_a_printed_cell():
    book, verdicts, _ = made([row("a"), row("b", table=place("x", "y"))], {})
    rows = Read(fragments.rows([fragments.Part("1", "ace", "E", "e.html", "S.", book.paper, verdicts)]))
    assert rows.all("tr", "data-kind") == ["cell", "number"]


def test_the_scorecard_stands_by_chapter_and_table_with_whole_tables_open_above_their_cells():
    book, verdicts, _ = whole()
    part = fragments.Part("1", "ace", "Effects", "ace.html", "S.", book.paper, [*verdicts, *shown()[1]])
    source = fragments.rows([part])
    groups = re.findall(r"<details class=\"cn-fold\"( open)?><summary>(.*?)</summary>(.*?)</details>", source)
    assert [(opened, Read(f"<p>{told}</p>").words.split("  ")[0].strip()) for opened, told, _ in groups] == [
        (" open", "whole tables ✓ 1 reproduced"),
        ("", "Table I ✓ 1 reproduced ✕ 1 not reproduced ⊘ 3 cannot judge ○ 1 not run"),
        ("", "claims ✓ 1 reproduced"),
        ("", "errata ✕ 1 not reproduced"),
    ]
    assert "Sec. <1>: of 10 readings 1 fit: the first" in Read(source).words
    heads = [re.findall(r"<th role=\"columnheader\".*?>(.*?)</th>", inside) for *_, inside in groups]
    assert heads[:3] == [
        ["row", "verdict"],
        ["row", "printed", "ours", "± tol", "verdict"],
        ["row", "ours", "verdict"],
    ]


def test_the_scorecard_says_of_a_claim_that_it_is_not_specific():
    book, verdicts, _ = beside_noise({"claim.T6.cw.R1": 0.2, "noise.T6.cw.R1": 0.2})
    part = fragments.Part("1", "ace", "Effects", "ace.html", "S.", book.paper, verdicts)
    assert "reproduced not specific" in Read(fragments.rows([part])).words


def test_the_landing_list_has_a_bar_only_where_cells_are_printed():
    landing = Read(fragments.parts(parts()))
    assert [a["href"] for tag, a in landing.elements if tag == "a"] == ["ace.html", "bench.html"]
    assert len(landing.all("div", "aria-label")) == 1 and "of 4" in landing.words


def test_of_many_files_that_made_a_run_stale_the_first_are_seen_and_the_others_open():
    _, _, run = shown()
    told = fragments.status([("1 ace", run, runner.State("stale", tuple("abcdefg")))], "Runs.")
    assert 'a, b, c <details class="cn-more"><summary>and 4 more</summary>d, e, f, g</details>' in told


def test_the_status_names_the_files_that_made_a_run_stale():
    _, _, run = shown()
    told = fragments.status(
        [("1 ace", run, FRESH), ("2 next", run, STALE), ("3 last", None, NEVER)], "Runs. All of them."
    )
    assert "<b>Runs.</b> All of them." in told and "causalnb/<wbr>maps.py, torch 2.12 → 2.13" in told
    assert "1.9 GB" in told and "○ never run" in told
    away = runner.State("fresh", elsewhere=("Python 3.11 there, 3.13 here",))
    told = fragments.status([("1 ace", run, away)], "Runs.")
    assert "● fresh, made elsewhere</span>" in told and "(Python 3.11 there, 3.13 here)" in told


class Asked(Parameters):
    profiles = {"quick": {"data": "digits"}, "laptop": {"data": "mnist,fashion_mnist"}}
    eps: float = parameter(0.3, "the attack <budget>", unit="pixel units", ge=0, le=1)


def test_the_run_box_has_a_command_for_each_profile_and_every_parameter():
    box = Read(fragments.run_box("ace", Asked))
    for told in (
        "laptop: mnist, fashion_mnist",
        "causalnb run ace --profile laptop",
        "papermill ace.ipynb",
        "causalnb.chapters import ace",
    ):
        assert told in box.words
    assert all(name in box.words for name in Asked.model_fields) and "the attack <budget>" in box.words
    assert len(box.all("button", "hidden")) == 4


# Figures --------------------------------------------------------------------------------------------------


def test_a_caption_begins_with_its_message_in_bold():
    assert fragments.figure("<svg></svg>", "S rises by 0.2 points. Drawn by `figures.dose`.") == (
        '<figure class="cn-fig"><svg></svg><figcaption><b>S rises by 0.2 points.</b> Drawn by '
        "<code>figures.dose</code>.</figcaption></figure>"
    )
    assert '<figure class="cn-fig cn-side">' in fragments.figure("", "Message.", side=True)


# Text from elsewhere --------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</code></button></div>-->]]>",
    "&lt;b&gt; &amp;",
    "{{ record }}{% raw %}",
    "```\n```{raw} html\n<b>\n```",
    "{measured}`x` $$x$$ [a](javascript:b) {abbr}`y (z)`",
    "$(touch hit) `touch hit`; touch hit & touch hit | touch hit > hit",
    "\x1b[31mred\x1b[0m\x07\r\n\x00\x9b2J\u202e",
    "x" * 2_000,
    "",
]
TEXT = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]))
FEW = settings(max_examples=20, deadline=None, derandomize=True)


def spoilt(texts):
    """A record in which every free text is one of these."""
    _, _, run = shown()
    draw = iter(texts * 20)
    one = Estimate(0.5, 0.4, 0.6, 0.95, next(draw), n=3, unit=next(draw))
    return run.model_copy(
        update={
            "edition": next(draw),
            "commit": next(draw),
            "parameters": {"n_images": next(draw)},
            "changed": {next(draw): next(draw)},
            "environment": {"versions": {next(draw): next(draw)}, "accelerator": next(draw)},
            "measurements": {
                "t.a": record.Measurement(
                    estimate=one, what=next(draw), data=(next(draw),), section=next(draw)
                )
            },
        }
    )


@FEW
@example(texts=HOSTILE)
@given(texts=st.lists(TEXT, min_size=1, max_size=12))
def test_texts_of_a_record_reach_a_page_only_as_text(texts):
    book, _, plain = shown()
    run, now = spoilt(texts), runner.State("stale", tuple(texts))

    def parts(run, now, name):
        judged = ledger.judge(book, run)
        return [
            fragments.note("t.a", run, "m-1"),
            fragments.card(book.paper, judged, run, now),
            fragments.status([(name, run, now)], "Runs."),
            fragments.versions(run),
            fragments.verdicts(judged, (), run),
            fragments.beside(name, name, [(name, name, name, name)]),
            fragments.shows(name, run),
        ]

    allowed = [
        {tag for tag, _ in Read(part).elements}
        | {"br", "wbr", "sup", "code", "dl", "dt", "dd", "div", "details", "summary"}
        for part in parts(plain, STALE, "`a`")
    ]
    for part, tags in zip(parts(run, now, texts[0]), allowed, strict=True):
        read = Read(part)
        assert {tag for tag, _ in read.elements} <= tags
        assert not [name for _, given in read.elements for name in given if name.startswith("on")]
        assert not console.CONTROL.search(part.replace("\n", ""))
    assert console.plain_lines(texts[0]) in Read(fragments.beside(texts[0], "", [])).words


@FEW
@given(
    name=TEXT, value=TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)
@example(name="data", value="20")
@example(name="data", value="None")
@example(name="data", value="(1,")
def test_a_copied_command_is_read_back_word_for_word(name, value):
    _, _, run = shown()
    name = name.replace("=", "").replace("\x00", "")
    told = Read(
        fragments.card(
            ledger.parse("ace", PAPER + "\nrows: []").paper,
            [],
            run.model_copy(update={"changed": {name: value}}),
            None,
        )
    ).words
    command = told[told.index("causalnb run ace") :].removesuffix("Copy")
    *start, flag, pair = shlex.split(command)
    assert (start, flag) == (["causalnb", "run", "ace", "--profile", "laptop"], "-p")
    if console.plain(name) == name:
        assert typed.values([pair], None)[name] == (value if isinstance(value, str) else repr(value))


def test_a_shell_runs_nothing_that_a_copied_command_holds(tmp_path):
    _, _, run = shown()
    changed = {f"p{i}": text.replace("\x00", "") for i, text in enumerate(HOSTILE)}
    command = fragments.wording.again(run.model_copy(update={"changed": changed}))
    done = subprocess.run(
        ["sh", "-c", f"causalnb() {{ printf '%s\\0' \"$@\"; }}; {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = [word for word in done.stdout.split("\0") if word[:1] == "p"]
    assert typed.values(pairs, None) == {"profile": "quick", **changed}
    assert done.stderr == "" and not list(tmp_path.iterdir())


@FEW
@given(text=TEXT)
def test_alt_text_and_captions_hold_text_alone(text):
    read = Read(fragments.figure("<svg></svg>", text))
    assert [tag for tag, _ in read.elements if tag not in ("code", "b")] == ["figure", "svg", "figcaption"]
