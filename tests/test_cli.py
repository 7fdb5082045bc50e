import subprocess
import sys
from pathlib import Path

import pytest

from causalnb import cli

ROOT = Path(__file__).parents[1]


def causalnb(monkeypatch, capsys, *arguments):
    """Exit code, lines of stdout, lines of stderr."""
    monkeypatch.setattr(sys, "argv", ["causalnb", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    shown = capsys.readouterr()
    return code, shown.out.splitlines(), shown.err.splitlines()


def test_a_wrong_parameter_prints_one_line_and_fails(book, monkeypatch, capsys):
    code, out, err = causalnb(monkeypatch, capsys, "run", "01", "-p", "epss=0.2")
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("epss is not a parameter of this chapter")


@pytest.mark.parametrize("pair, sentence", [("eps=-1", "eps = -1 is not possible"), ("n_images=0", "n_images = 0"), ("data=mnits", "data = 'mnits'"),
                                            ("eps", "-p eps is not possible: give a parameter as NAME=VALUE"), ("device=cuda:77", "device = 'cuda:77'")])
def test_every_impossible_value_is_one_line(book, monkeypatch, capsys, pair, sentence):
    code, out, err = causalnb(monkeypatch, capsys, "run", "ace", "-p", pair)
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith(sentence)


def test_run_compare_judge_and_status_work_on_a_small_book(book, monkeypatch, capsys):
    book()
    assert causalnb(monkeypatch, capsys, "run", "01")[0] == 0
    code, out, _ = causalnb(monkeypatch, capsys, "run", "01", "-p", "eps=0.2")
    assert code == 0 and "1 measurements" in out[0]
    other = next(Path("runs/ace").glob("quick-*"))
    code, out, _ = causalnb(monkeypatch, capsys, "compare", "runs/ace/quick", str(other))
    assert code == 0 and out[0] == "small.eps  0.3  0.2  -0.1  different"
    assert out[-1].startswith("1 measurements: 0 same, 1 different, 0 not comparable")
    code, out, _ = causalnb(monkeypatch, capsys, "judge", "runs/ace/quick")
    assert code == 0 and "not run" in out[0] and "32" not in out[0]
    code, out, _ = causalnb(monkeypatch, capsys, "status")
    assert code == 0 and all("fresh" in line for line in out) and len(out) == 2


def test_convert_writes_a_notebook_and_says_how_to_run_it(book, monkeypatch, capsys, tmp_path):
    code, out, _ = causalnb(monkeypatch, capsys, "convert", "01", "deep/in.ipynb")
    assert code == 0 and Path("deep/in.ipynb").is_file() and "papermill" in out[0]


def test_data_lists_every_set_and_store_is_empty_at_first(monkeypatch, capsys):
    code, out, _ = causalnb(monkeypatch, capsys, "data")
    assert code == 0 and any(line.startswith("mnist ") and "absent" in line for line in out)
    assert causalnb(monkeypatch, capsys, "store") == (0, [], [])


def test_the_command_s_help_needs_no_traceback():
    shown = subprocess.run([sys.executable, "-m", "causalnb", "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for verb in ("run", "convert", "status", "compare", "store", "data", "judge", "book"):
        assert verb in shown
