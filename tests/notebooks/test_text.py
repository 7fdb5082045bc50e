"""What the text of every chapter keeps to; nothing is executed."""

import re
from types import SimpleNamespace

import pytest
import torch

from causalnb import runner
from causalnb.notebook import parameters_of
from causalnb.parameters import cell

CHAPTERS = list(runner.chapters().values())
each_chapter = pytest.mark.parametrize("one", CHAPTERS, ids=[one.name for one in CHAPTERS])


def code(one):
    return [c for c in runner.convert(one).cells if c.cell_type == "code"]


@each_chapter
def test_the_parameters_cell_is_the_model_s(one):
    cells = [c for c in code(one) if "parameters" in c.metadata.get("tags", [])]
    assert [c.source for c in cells] == [cell(parameters_of(one.name))]


@each_chapter
def test_cells_use_the_resolved_parameters_and_never_the_bare_names(one):
    names = "|".join(parameters_of(one.name).model_fields)
    for c in code(one):
        if "parameters" not in c.metadata.get("tags", []):
            source = re.sub(r"(\"[^\"]*\"|'[^']*')", "''", c.source)
            assert not re.search(rf"(?<![.\w])(?:{names})(?!\w|=[^=])", source), c.source
            assert not re.search(rf"^\s*(?:{names})\s*=", source, flags=re.M), c.source


@each_chapter
def test_the_second_cell_begins_and_the_last_one_finishes(one):
    cells = code(one)
    assert f'run = begin("{one.name}")' in cells[1].source
    assert cells[-1].source.strip() == "run.finish()"


@each_chapter
def test_cells_are_short_and_hold_no_output(one):
    assert [c.source for c in code(one) if len(c.source.splitlines()) > 26 or c.outputs] == []


@each_chapter
def test_the_lines_of_a_cell_that_a_reader_sees_fit_the_page(one):
    unseen = ("hide-cell", "hide-input", "remove-input", "remove-cell", "parameters")
    shown = [c.source for c in code(one) if not {*unseen} & {*c.metadata.get("tags", [])}]
    assert [line for source in shown for line in source.splitlines() if len(line) > 78] == []


@each_chapter
def test_prose_types_no_measured_number(one):
    """A decimal number or a percentage in a sentence is the record's, through the role, or a quotation's."""
    text = "\n".join(c.source for c in runner.convert(one).cells if c.cell_type == "markdown")
    text = re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\"[^\"]*\"|\{measured\}", "", text, flags=re.S)
    assert re.findall(r"[^.\n]*\d\.\d{2,}[^.\n]*|[^.\n]*\d ?%[^.\n]*", text) == []
    assert re.findall(r"(?i)\b(?:best|outperforms?|superior|state of the art|significantly)\b", text) == []


def test_the_cell_of_two_claims_ends_well_where_an_attack_moves_no_pixel_by_a_tenth(capsys):
    [source] = [c.source for c in code(runner.chapter("ace")) if "T12 AUC" in c.source]
    clean, true = torch.rand(3, 1, 4, 4), torch.zeros(3)
    maps = {"R3m.logit.true": torch.rand(3, 4, 4)}
    known = {
        "torch": torch,
        "clean": clean,
        "attacked": clean + 0.05,
        "change": torch.full((3, 16), 0.05),
        "pgd": SimpleNamespace(maps=maps),
        "model": lambda images: torch.eye(10)[:3],
        "true": true,
        "roc_auc_score": None,  # never called
    }
    exec(source, known)  # noqa: S102 -- a cell of the page
    assert "T12 AUC: nan" in capsys.readouterr().out
