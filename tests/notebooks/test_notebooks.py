"""Every chapter under nbval at the quick profile: it runs from an empty store, and its checked cells print
what is expected.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from causalnb import runner
from causalnb.notebook import parameters_of
from causalnb.parameters import cell

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from make_expected import checked  # noqa: E402

CHAPTERS = list(runner.chapters().values())
each_chapter = pytest.mark.parametrize("one", CHAPTERS, ids=[one.name for one in CHAPTERS])


def code(one):
    return [c for c in runner.convert(one).cells if c.cell_type == "code"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def nbval(one, folder, store, lines):
    """The exit code and output of pytest --nbval-lax on the chapter with these lines as the checked cells'
    outputs.
    """
    import nbformat

    notebook = runner.convert(one)
    for c, expected in zip(checked(notebook), lines, strict=True):
        c.update(
            outputs=[nbformat.v4.new_output("stream", name="stdout", text="\n".join(expected) + "\n")],
            execution_count=1,
        )
    nbformat.write(notebook, folder / "chapter.ipynb")
    (folder / "pytest.ini").write_text("[pytest]\n")
    options = [
        "-q",
        "-c",
        "pytest.ini",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=900",
    ]
    command = [sys.executable, "-m", "pytest", *options, "chapter.ipynb"]
    environment = os.environ | {
        "CAUSALNB_STORE": str(store),
        "CAUSALNB_QUIET": "1",
        "CAUSALNB_RECORD": str(folder / "record.json"),
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def expected_of(one):
    return json.loads((HERE / f"{one.source.stem}.expected.json").read_text(encoding="utf-8"))


@each_chapter
def test_a_chapter_runs_from_an_empty_store_and_prints_what_is_expected(one, tmp_path, store):
    lines = expected_of(one)
    assert lines and all(lines)
    code, out = nbval(one, tmp_path, store, lines)
    assert code == 0, out[-3000:]
    assert (tmp_path / "record.json").is_file()


@each_chapter
def test_one_altered_value_fails(one, tmp_path, store):
    lines = expected_of(one)
    lines[-1][-1] = re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), lines[-1][-1])
    code, out = nbval(one, tmp_path, store, lines)
    assert code == 1 and "1 failed" in out, out[-3000:]


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
def test_prose_types_no_measured_number(one):
    """A decimal number or a percentage in a sentence is the record's, through the role, or a quotation's."""
    text = "\n".join(c.source for c in runner.convert(one).cells if c.cell_type == "markdown")
    text = re.sub(r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\"[^\"]*\"|\{measured\}", "", text, flags=re.S)
    assert re.findall(r"[^.\n]*\d\.\d{2,}[^.\n]*|[^.\n]*\d ?%[^.\n]*", text) == []
    assert re.findall(r"(?i)\b(?:best|outperforms?|superior|state of the art|significantly)\b", text) == []
