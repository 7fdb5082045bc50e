import contextlib
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sweeping import LEAVE, chapter, grid, lines, words

from causalnb import UserError, cli, processes, record, runner, sweep

ROOT = Path(__file__).parents[1]
TWELVE = grid(0.1, 0.2, 0.3, 0.4, seeds=3)


@pytest.fixture
def here(monkeypatch):
    """Points are executed in this process."""
    monkeypatch.setenv("CAUSALNB_WORKERS", "1")


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setenv("CAUSALNB_WORKERS", "2")


def values(swept):
    """Each point's measured value."""
    return {
        name: record.read(swept.home / name).measurements["small.eps"].estimate.value for name in swept.points
    }


def test_each_point_is_a_run_with_its_record_and_again_nothing_is_executed(book, inline, here):
    one, points = chapter(book), grid(0.1, 0.2, seeds=2)
    swept, outcomes = sweep.run(one, points)
    assert swept.name == "eps-seed" and words(outcomes) == ["made"] * 4
    assert lines("begun.txt") == list(outcomes)
    assert list(outcomes) == [f"eps={eps},seed={seed}" for eps in (0.1, 0.2) for seed in (0, 1)]
    home = Path("runs/ace/sweep-eps-seed").resolve()
    assert swept.home == home and (home / "eps=0.2,seed=1" / "ace.ipynb").is_file()
    assert values(swept)["eps=0.2,seed=1"] == 1.2
    swept, outcomes = sweep.run(one, points)
    assert words(outcomes) == ["there"] * 4 and len(lines("begun.txt")) == 4
    assert runner.local(one) == []


def test_only_what_is_missing_stale_or_new_is_made(book, inline, here):
    one = chapter(book)
    swept, _ = sweep.run(one, grid(0.1, 0.2, 0.3), "mine")
    (swept.home / "eps=0.2,seed=0" / "record.json").unlink()
    _, outcomes = sweep.run(one, grid(0.1, 0.2, 0.4), "mine")
    assert words(outcomes) == ["there", "made", "made"]
    swept, outcomes = sweep.run(chapter(book, "x = 1"), grid(0.1), "mine")
    assert words(outcomes) == ["made"]
    assert list(swept.points) == [f"eps={eps},seed=0" for eps in (0.1, 0.2, 0.3, 0.4)]
    assert sweep.from_file(swept.home / "points.csv")[-1] == {"eps": "0.4", "seed": "0"}


def test_a_failed_point_stops_no_other_and_is_told_with_its_sentence(book, inline, here):
    one = chapter(
        book, "from causalnb import UserError\nif eps == 0.2:\n    raise UserError('No eps of 0.2.')"
    )
    _, outcomes = sweep.run(one, grid(0.1, 0.2, 0.3))
    assert words(outcomes) == ["made", "failed", "made"]
    assert outcomes["eps=0.2,seed=0"].sentence == "No eps of 0.2."
    _, outcomes = sweep.run(one, grid(0.1, 0.2, 0.3))
    assert words(outcomes) == ["there", "failed", "there"] and len(lines("begun.txt")) == 4


@pytest.mark.parametrize(
    "last, sentence",
    [
        ({"eps": 7}, "eps = 7 is not possible"),
        ({"epss": 0.1}, "epss is not a parameter of this chapter; did you mean eps?"),
        ({"data": "mnits"}, "mnits is neither a data set nor a folder"),
        ({"eps": 0.1, "device": "cuda:99"}, "device = 'cuda:99' is not possible"),
    ],
)
def test_a_point_that_cannot_be_is_refused_before_anything_starts(book, here, last, sentence):
    one = chapter(book)
    with pytest.raises(UserError, match=sentence):
        sweep.run(one, [*grid(0.1, 0.2), last])
    assert not Path("runs").exists() and lines("begun.txt") == []


def test_a_name_that_is_no_folder_s_is_refused(book, here):
    with pytest.raises(UserError, match="../x cannot name a sweep"):
        sweep.run(chapter(book), grid(0.1), "../x")


def again(home):
    """The same sweep, in a worker, where points come one after the other."""
    with contextlib.chdir(home):
        return words(sweep.run(runner.chapter("ace"), grid(0.1, 0.2, 0.3))[1])


def test_two_sweeps_at_once_do_no_point_twice(book, two):
    chapter(book)
    told = processes.map(again, [Path.cwd()] * 2, workers=2)
    assert sorted(lines("begun.txt")) == [f"eps={eps},seed=0" for eps in (0.1, 0.2, 0.3)]
    assert [sorted(pair) for pair in zip(*told, strict=True)] == [["made", "there"]] * 3


def require_whole(swept, outcomes):
    """Every point arrived, and none that had ended when a worker was killed began again."""
    assert words(outcomes) == ["made"] * 12
    assert values(swept) == {f"eps={p['eps']},seed={p['seed']}": p["eps"] + p["seed"] for p in TWELVE}
    begun, ended = Counter(lines("begun.txt")), lines("killed.txt")
    assert ended and all(begun[name] == 1 for name in ended)
    assert begun["eps=0.2,seed=0"] == 2 and sum(begun.values()) <= 14


def test_a_worker_of_this_machine_that_is_killed_costs_only_what_it_had_in_hand(book, two):
    one = chapter(book, LEAVE)
    Path("command.txt").write_text("0")
    require_whole(*sweep.run(one, TWELVE))


def test_a_point_that_kills_its_worker_three_times_is_told_and_the_others_arrive(book, two):
    one = chapter(book, "if eps == 0.2:\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(60)")
    _, outcomes = sweep.run(one, grid(0.1, 0.2, 0.3))
    assert words(outcomes) == ["made", "failed", "made"]
    assert "Its worker ended 3 times" in outcomes["eps=0.2,seed=0"].sentence
    assert Counter(lines("begun.txt"))["eps=0.2,seed=0"] == 3


def test_a_sweep_that_is_killed_goes_on_where_it_was(book, two):
    chapter(book, LEAVE)
    command = [sys.executable, "-m", "causalnb", "sweep", "01", "-p", "eps=0.1,0.2,0.3", "-p", "seed=0:2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        Path("command.txt").write_text(str(process.pid))
    before = Counter(lines("begun.txt"))
    assert process.returncode == -9 and lines("killed.txt")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    made, there = map(
        int, re.search(r"6 points: (\d) made, (\d) there before, 0 failed", done.stdout).groups()
    )
    assert made + there == 6 and there >= len(lines("killed.txt")), "one may have ended beside the kill"
    more = set(Counter(lines("begun.txt")) - before)
    assert len(more) == made and not more & set(lines("killed.txt"))


# A Dask cluster -------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch):
    """A function that starts a Dask cluster of two processes with so many threads each, on loopback."""
    distributed = pytest.importorskip("distributed", reason="no Dask cluster: distributed is not installed")
    with contextlib.ExitStack() as open_:

        def start(threads=1):
            started = open_.enter_context(
                distributed.LocalCluster(
                    n_workers=2,
                    threads_per_worker=threads,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                )
            )
            monkeypatch.setenv("CAUSALNB_WORKERS", started.scheduler_address.replace("tcp", "dask"))

        yield start


def test_a_cluster_makes_the_same_records_also_when_a_worker_is_killed(book, cluster):
    one = chapter(book, LEAVE)
    Path("command.txt").write_text("0")
    cluster()
    swept, outcomes = sweep.run(one, TWELVE)
    require_whole(swept, outcomes)
    assert sweep.run(one, TWELVE)[1]["eps=0.4,seed=2"].word == "there"


def test_a_point_that_kills_workers_of_a_cluster_is_told_after_three(book, cluster):
    one = chapter(book, "if eps == 0.2:\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(60)")
    cluster()
    _, outcomes = sweep.run(one, grid(0.1, 0.2, 0.3))
    assert words(outcomes) == ["made", "failed", "made"]
    assert Counter(lines("begun.txt"))["eps=0.2,seed=0"] == 3


def test_workers_with_several_threads_are_refused(cluster):
    cluster(threads=2)
    with pytest.raises(
        UserError, match="workers of one thread each .* it has one with 2 threads: start them"
    ):
        processes.map(abs, [1, 2])


def test_a_cluster_that_does_not_answer_is_a_sentence(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setenv("CAUSALNB_WORKERS", "dask://127.0.0.1:1")
    with pytest.raises(UserError, match="^No Dask scheduler answers at 127.0.0.1:1"):
        processes.map(abs, [1, 2])


@pytest.mark.parametrize("given", ["0", "-1", "two", "dask://", "dask://host", "tcp://host:1", "1.5"])
def test_workers_that_cannot_be_are_a_sentence(monkeypatch, given):
    monkeypatch.setenv("CAUSALNB_WORKERS", given)
    with pytest.raises(UserError, match=f"^CAUSALNB_WORKERS = {given} is not possible"):
        processes.map(abs, [1, 2])


# The command ----------------------------------------------------------------------------------------------


def causalnb(monkeypatch, capsys, *arguments):
    """Exit code, lines of stdout, lines of stderr of `causalnb sweep`."""
    monkeypatch.setattr(sys, "argv", ["causalnb", "sweep", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    shown = capsys.readouterr()
    return int(end.value.code or 0), shown.out.splitlines(), shown.err.splitlines()


def test_the_command_makes_the_product_of_a_file_s_points_and_values(book, inline, here, monkeypatch, capsys):
    chapter(book, "assert eps != 0.2 or seed")
    Path("points.csv").write_text("eps\n0.1\n0.2\n")
    asked = ("01", "--points", "points.csv", "-p", "seed=0:2", "--name", "mine")
    code, out, err = causalnb(monkeypatch, capsys, *asked)
    assert out == ["ace, 4 points: 3 made, 0 there before, 1 failed; runs/ace/sweep-mine"]
    assert code == 1 and err[0] == "1 of 4 points failed, the others are there:"
    assert err[1].startswith("eps=0.2,seed=0: The notebook failed with AssertionError")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["01"], "A sweep of what? Give values"),
        (["01", "-p", "eps=0.1", "-p", "eps=0.2"], "A parameter was asked twice"),
        (["01", "-p", "eps=0.1,-1"], "eps = -1 is not possible"),
        (["01", "-p", "eps"], "-p eps is not possible: give NAME=VALUE"),
        (["07", "-p", "eps=0.1"], "07 is not a chapter of this book"),
    ],
)
def test_what_cannot_be_swept_is_one_line(book, here, monkeypatch, capsys, arguments, sentence):
    code, out, err = causalnb(monkeypatch, capsys, *arguments)
    assert (code, out, len(err)) == (1, [], 1) and err[0].startswith(sentence)
    assert not Path("runs").exists()
