"""The house on a machine that is not ours: kernels that die or do not start, odd names of folders, old encodings, no
git, folders that are broken or left behind.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from causalnb import UserError, cli, notebook, places, runner
from causalnb.book import generated

ROOT = Path(__file__).parents[1]


def command(folder, *arguments, **variables):
    """A real command: exit code, lines of stdout, lines of stderr."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        [sys.executable, "-m", "causalnb", *arguments], cwd=folder, env=environment, capture_output=True
    )
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode().splitlines()


def kernel(folder, *argv):
    """A folder of kernels in which python3 is this program."""
    place = folder / "jupyter" / "kernels" / "python3"
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "P", "language": "python"}))
    return str(folder / "jupyter")


def test_a_kernel_that_is_killed_is_one_sentence(book):
    folder = book("import os, signal; os.write(2, b'last words\\n'); os.kill(os.getpid(), signal.SIGKILL)")
    code, out, err = command(folder, "run", "01")
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith(
        "The kernel that runs notebooks/01_ace.md did not start or died (Kernel died; last words)"
    )
    assert [path.name for path in (folder / "runs" / "ace").iterdir()] == []


@pytest.mark.parametrize(
    "argv, said",
    [
        (["/nowhere/python", "{connection_file}"], "/nowhere/python"),
        (
            [sys.executable, "-c", "raise OSError('no ipykernel')", "{connection_file}"],
            "OSError: no ipykernel",
        ),
    ],
)
def test_a_kernel_that_does_not_start_is_one_sentence_with_its_reason(book, tmp_path, argv, said):
    code, out, err = command(book(), "run", "01", JUPYTER_PATH=kernel(tmp_path, *argv))
    assert (code, out, len(err)) == (1, [], 1) and said in err[0]
    assert err[0].startswith("The kernel that runs notebooks/01_ace.md did not start or died (")


def test_a_book_in_a_folder_with_braces_runs(tmp_path, book, monkeypatch):
    folder = tmp_path / "x {a} {0} }"
    folder.mkdir()
    for name in ("notebooks", "_toc.yml"):
        shutil.move(book() / name, folder / name) if name == "notebooks" else shutil.copy(name, folder)
    monkeypatch.chdir(folder)
    assert runner.run(runner.chapter("01"), {"profile": "quick"}).folder == folder / "runs" / "ace" / "quick"


def test_no_git_program_is_no_commit(book, monkeypatch):
    (book() / ".git").mkdir()
    monkeypatch.setenv("PATH", str(book()))
    assert notebook.begin("ace").record().commit is None


def test_a_text_with_a_byte_order_mark_and_one_without_a_heading_run(book, inline):
    plain = book.text(book.begin, book.measure, "run.finish()")
    file = book() / "notebooks" / "01_ace.md"
    expected = runner.run(runner.chapter("ace"), {}).record.source_digest
    file.write_bytes(b"\xef\xbb\xbf" + plain.encode())
    assert runner.chapter("ace").title == "A small chapter"
    assert runner.run(runner.chapter("ace"), {}).record.source_digest == expected
    file.write_text(plain.replace("# A small chapter\n", ""))
    assert runner.chapter("ace").title == "ace" and runner.run(runner.chapter("ace"), {}).folder.is_dir()


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_a_sentence_for_who_asks_and_no_harm_to_others(book, inline, encoding, capsys):
    runner.run(runner.chapter("ace"), {})
    notes = book() / "notebooks" / "07_notes.md"
    notes.write_text("# Notes é", encoding=encoding)
    assert list(runner.chapters()) == ["ace"]
    (book() / "notebooks" / "00_bench.md").write_text("# Bénch", encoding=encoding)
    assert list(runner.chapters()) == ["bench", "ace"] and runner.chapter("00").title == "bench"
    with pytest.raises(UserError, match="notebooks/00_bench.md is not UTF-8 text: save it as UTF-8"):
        runner.convert(runner.chapter("00"))
    (book() / "notebooks" / "01_ace.md").write_text("# Ácé", encoding=encoding)
    cli.status()
    assert "this machine: notebooks/01_ace.md is not UTF-8 text" in capsys.readouterr().out


BROKEN = {
    "an empty record": lambda run: (run / "record.json").write_text(""),
    "half a record": lambda run: (run / "record.json").write_bytes((run / "record.json").read_bytes()[:500]),
    "another's record": lambda run: (run / "record.json").write_text('{"schema_version": 99}'),
    "a record of bytes": lambda run: (run / "record.json").write_bytes(bytes(range(256))),
    "a folder as record": lambda run: ((run / "record.json").unlink(), (run / "record.json").mkdir()),
    "a loop": lambda run: ((run / "record.json").unlink(), (run / "record.json").symlink_to("record.json")),
    "an empty notebook": lambda run: (run / "ace.ipynb").write_text(""),
    "a folder as notebook": lambda run: ((run / "ace.ipynb").unlink(), (run / "ace.ipynb").mkdir()),
    "a notebook that is none": lambda run: (run / "ace.ipynb").write_text("[1]"),
    "no notebook": lambda run: (run / "ace.ipynb").unlink(),
    "a file": lambda run: (shutil.rmtree(run), run.write_text("x")),
    "nothing": lambda run: (shutil.rmtree(run), run.mkdir()),
    "a chapter of another name": lambda run: changed(run, chapter="bench"),
    "a time that is none": lambda run: changed(run, finished="yesterday"),
    "versions that are none": lambda run: changed(run, environment={"versions": {"python": ""}}),
    "files outside": lambda run: changed(run, sources={"notebook": "", "causalnb/../../x.py": ""}),
}


def changed(run, **fields):
    content = json.loads((run / "record.json").read_text())
    (run / "record.json").write_text(json.dumps(content | fields))


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_one_broken_run_does_not_stop_status_and_book(book, inline, breaks, capsys):
    one = runner.chapter("ace")
    broken = runner.run(one, {"eps": 0.2}).folder
    good = runner.run(one, {}).folder
    breaks(broken)
    capsys.readouterr()
    cli.status()
    out = capsys.readouterr().out
    assert sum("this machine: quick" in line and "fresh" in line for line in out.splitlines()) >= 1
    assert generated.show(one).run.folder == good and "ace/quick" in generated.machine(one)
    breaks(runner.run(one, {}).folder)
    cli.status()
    try:
        generated.show(one)
    except UserError as error:
        assert "has no execution to show" in str(error)


def test_what_killed_runs_left_is_swept_and_nothing_else(book, inline):
    home = book() / "runs" / "ace"
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    gone = gone.stdout.strip()
    kinds = {
        f".20260101-000000-{gone}": False,
        f".20260101-000001-{gone}": True,  # young
        f".20260101-000000-{os.getpid()}": True,  # at work
        f".20260101-000002-{gone}": True,  # whole
        ".mine-notes": True,
        ".quick.old": True,
    }
    for name in kinds:
        (home / name).mkdir(parents=True)
        (home / name / "ace.ipynb").write_text("{}")
    (home / f".20260101-000002-{gone}" / "record.json").write_text("{}")
    for name in kinds:
        old = time.time() - (3600 if name.startswith(".20260101-000001") else 3 * places.DAY)
        os.utime(home / name, (old, old))
    runner.run(runner.chapter("ace"), {})
    assert {name: (home / name).exists() for name in kinds} == kinds


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_judge_speaks_to_a_terminal_that_is_no_utf_8(encoding):
    code, out, err = command(
        ROOT, "judge", "book/published/bench/laptop-cpu", PYTHONIOENCODING=encoding, PYTHONUTF8="0"
    )
    assert (code, err) == (0, []) and any("reproduced" in line for line in out)


def test_a_stream_that_is_no_terminal_is_left_alone(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["causalnb", "judge", "nowhere"])
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit):
        cli.main()
    assert "No record is at nowhere" in capsys.readouterr().err
