"""The walk through a chapter in CONTRIBUTING.md, walked beside a copy of the package; and what nbval says of an
altered value of that chapter.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import executing
import jupytext
import nbformat
import pytest
from make_expected import checked, printed

from causalnb import record

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"^`([\w./-]+)`\n\n(`{3,})\w+\n(.*?)^\2$", re.M | re.S)
COMMANDS = re.compile(r"^Run it.*?```sh\n(.*?)^```$", re.M | re.S)
LIMIT = 92  # lines of a newcomer's chapter that are not blank; about 60 of them are code


@pytest.fixture(scope="module")
def walk():
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def files(walk):
    return {name: text for name, _, text in FILE.findall(walk)}


@pytest.fixture(scope="module")
def project(tmp_path_factory, files):
    """The package and an empty book, with the files of the walk in them."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "causalnb", folder / "causalnb")
    (folder / "tests" / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "notebooks" / "test_text.py", folder / "tests" / "notebooks")
    shutil.copy(ROOT / "_toc.yml", folder)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def said(project, walk, tmp_path_factory):
    """What each command of the walk prints, by the command."""
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "CAUSALNB_STORE": str(tmp_path_factory.mktemp("store")),
    }
    answers = {}
    for command in COMMANDS.search(walk)[1].splitlines():
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        answers[command] = done.stdout
    return answers


def test_the_walk_is_a_chapter_of_few_lines(files):
    parts = {Path(name).suffix for name in files}
    assert parts == {".py", ".yaml", ".md"} and len(files) == 6
    assert sum(bool(line.strip()) for text in files.values() for line in text.splitlines()) <= LIMIT


def test_the_walk_leaves_a_record(said, project, counted):
    made = record.read(project / "runs" / "toy" / "quick")
    counted("toy", "whole, as CONTRIBUTING.md walks", made.seconds)
    assert "2 measurements" in said["causalnb run toy"]
    kept = made.measurements["kept.digits"]
    assert (kept.data, kept.estimate.n, kept.estimate.method) == (("digits",), 200, "wilson")
    assert kept.estimate.low < kept.estimate.value < kept.estimate.high
    assert set(kept.rows) == {"T1"} and set(made.measurements["control.still"].rows) == {"C1"}
    assert [section.name for section in made.sections] == ["noise"]
    assert {one.what for one in made.store} >= {
        "noise of 0.0",
        "noise of 0.1",
        "noise of 0.3",
        "noise of 1.0",
    }


def test_the_walk_s_claim_and_control_are_judged(said):
    verdicts = [line.split() for line in said["causalnb judge runs/toy/quick"].splitlines()]
    assert ["✓", "reproduced", "T1"] in verdicts and ["✓", "reproduced", "C1"] in verdicts


def test_the_walk_s_tests_pass_and_its_text_keeps_the_rules(said):
    assert re.search(
        r"^7 passed", said["pytest -q tests/chapters/toy tests/notebooks/test_text.py -k toy"], re.M
    )


def test_one_altered_value_fails(said, project, tmp_path, monkeypatch, counted):
    executed = nbformat.read(project / "runs" / "toy" / "quick" / "toy.ipynb", as_version=4)
    lines = [printed(cell).splitlines() for cell in checked(executed)]
    last = re.sub(r"\d$", lambda digit: str((int(digit[0]) + 1) % 10), lines[-1][-1])
    assert last != lines[-1][-1]
    lines[-1][-1] = last
    monkeypatch.setenv("PYTHONPATH", str(project))
    notebook = jupytext.read(project / "notebooks" / "99_toy.md")
    done = executing.nbval(notebook, tmp_path, lines)
    counted("toy", "with an altered value", done.seconds)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    assert done.code == 1 and f"1 failed, {cells - 1} passed" in done.out, done.out[-3000:]
