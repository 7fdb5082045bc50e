"""How the tests execute chapters: once under nbval for all who ask, and once more, cell by cell, on what that left."""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from filelock import FileLock
from make_expected import TAG, checked
from nbclient import NotebookClient

from causalnb import record, runner

OPTIONS = "-q -c pytest.ini -p no:cacheprovider --nbval-lax --nbval-current-env --nbval-cell-timeout=900"
SEED = 20  # of the order of sections


@dataclass(frozen=True)
class Execution:
    """What is left of a chapter's execution under nbval: its folder, exit code, output, and wall seconds."""

    folder: Path
    code: int
    out: str
    seconds: float

    @property
    def record(self):
        return record.read(self.folder / "record.json")


def environment(folder, name="record.json"):
    """The variables of a kernel whose store and record lie in the folder."""
    return os.environ | {
        "CAUSALNB_STORE": str(folder / "store"),
        "CAUSALNB_QUIET": "1",
        "CAUSALNB_RECORD": str(folder / name),
    }


def nbval(notebook, folder, lines=None):
    """pytest --nbval-lax on the notebook, in the folder, with these lines as the checked cells' outputs; without them
    every cell must end well, and none is compared.
    """
    for cell in [] if lines else checked(notebook):
        cell.metadata["tags"].remove(TAG)
    for cell, expected in zip(checked(notebook), lines or [], strict=True):
        text = "\n".join(expected) + "\n"
        cell.update(outputs=[nbformat.v4.new_output("stream", name="stdout", text=text)], execution_count=1)
    nbformat.write(notebook, folder / "chapter.ipynb")
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", *OPTIONS.split(), "chapter.ipynb"]
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    return Execution(folder, done.returncode, done.stdout, time.perf_counter() - began)


def once(one, home):
    """The chapter's execution from an empty store, and whether this call made it: whoever asks first, in any
    process.
    """
    folder, kept = home / one.name, home / one.name / "execution.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if made := not kept.exists():
            done = nbval(runner.convert(one), folder)
            kept.write_text(json.dumps([done.code, done.out, done.seconds]))
    return Execution(folder, *json.loads(kept.read_text())), made


def parts(notebook):
    """The code cells before the first heading of level 2, then those of each section under such a heading."""
    found = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found[-1].append(cell)
        elif cell.source.startswith("## "):
            found.append([])
    return [part for part in found if part]


def again(one, done):
    """A kernel on the store of `done` that runs each cell twice in order, then whole sections in a random order:
    its notebook, its record, and wall seconds.
    """
    notebook = runner.convert(one)
    first, *sections = parts(notebook)
    shuffled = random.Random(SEED).sample(sections, len(sections))
    cells = [cell for part in [first, *sections] for cell in part for _ in range(2)]
    cells += [cell for part in shuffled for cell in part]
    cells += sections[-1][-1:]  # run.finish()
    notebook.cells = [nbformat.v4.new_code_cell(cell.source, metadata=dict(cell.metadata)) for cell in cells]
    began = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(done.folder)}},
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
    ).execute(env=environment(done.folder, "again.json"))
    return notebook, record.read(done.folder / "again.json"), time.perf_counter() - began
