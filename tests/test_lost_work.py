"""Nothing that was there is lost: by runs side by side, kills, full disks, places that cannot be written, and our
own commands.
"""

import json
import os
import random
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

import nbformat
import pytest
from forking import fork, forked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causalnb import UserError, files, notebook, places, record, runner
from causalnb.statistics import exact

ROOT = Path(__file__).parents[1]
generated = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def one(book, inline):
    return runner.chapter("ace")


def budgets(one):
    return sorted(run.record.parameters["eps"] for run in runner.local(one))


def hidden():
    return list(Path("runs/ace").glob(".*"))


# Runs side by side ----------------------------------------------------------------------------------------


def together(works):
    """What each of some functions does in a process of its own, all let go at one moment."""
    wait, go = os.pipe()

    def until_all_are_there():
        os.close(go)
        os.read(wait, 1)

    ends = [fork(work, before=until_all_are_there) for work in works]
    os.close(go)
    os.close(wait)
    return [end() for end in ends]


@pytest.mark.parametrize("asked", [{}, {"seed": 3}])
def test_of_runs_that_begin_and_end_in_one_instant_each_is_kept(one, monkeypatch, asked):
    monkeypatch.setattr(places, "stamp", lambda seconds=None: "20260101-000000")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    runner.run(one, {"eps": 0.9})
    barrier = threading.Barrier(4)
    parts = []
    for k in range(4):
        part = files.fresh_folder(Path("runs/ace"), ".part")
        made = runner.local(one)[0].record.model_copy(update={"seconds": float(k), "changed": asked})
        made.write(part / "record.json")
        (part / "ace.ipynb").write_text("{}")
        parts.append((part, made))

    def end(part, made):
        barrier.wait()
        places.settle(part, "{}", Path("runs/ace", made.profile), made, (), own=not asked)

    threads = [threading.Thread(target=end, args=each) for each in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = {run.record.seconds for run in runner.local(one)}
    assert kept >= {0.0, 1.0, 2.0, 3.0} and len(runner.local(one)) == 5 and not hidden()


def test_processes_that_run_side_by_side_keep_what_each_was_asked(one):
    asked = [0.1, 0.2, 0.4, 0.5]
    said = together([lambda eps=eps: runner.run(one, {"eps": eps}) for eps in asked])
    assert said == ["done"] * 4 and budgets(one) == asked and not hidden()


def test_two_notebooks_of_plain_papermill_that_finish_in_one_second_keep_both_records(one):
    runs = [notebook.begin("ace", eps=eps) for eps in (0.1, 0.2)]
    for run in runs:
        run._started = runs[0]._started
        run.measure("x", exact(1.0), data="")
        run.finish()
        run.finish()
    kept = [record.read(file).parameters["eps"] for file in Path("runs/ace").glob("*/record.json")]
    assert sorted(kept) == [0.1, 0.2]


def test_a_folder_that_takes_a_name_leaves_what_had_it_whole_however_many_do_so(tmp_path):
    def place(k):
        for number in range(25):
            part = files.fresh_folder(tmp_path, ".part")
            (part / "x").write_text(f"{k} {number}")
            places.put(part, tmp_path / "quick")

    threads = [threading.Thread(target=place, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [(folder / "x").read_text() for folder in tmp_path.iterdir()]
    assert sorted(kept) == sorted(f"{k} {number}" for k in range(4) for number in range(25))


# What a run replaces --------------------------------------------------------------------------------------


def test_a_run_replaces_the_one_with_the_same_parameters_and_no_other(book, one):
    first = runner.run(one, {})
    again = runner.run(one, {})
    assert again.folder == first.folder and [run.record for run in runner.local(one)] == [again.record]
    file = one.source
    file.write_text(file.read_text().replace("eps: float = 0.3", "eps: float = 0.25"))
    other = runner.run(one, {})
    assert other.folder == first.folder and budgets(one) == [0.25, 0.3]


@pytest.mark.parametrize("work", ["a cell", "an output", "a file", "a checkpoint"])
def test_a_run_in_which_somebody_worked_is_moved_aside_whole(one, work):
    folder = runner.run(one, {}).folder
    file = folder / "ace.ipynb"
    if work == "a cell":
        node = nbformat.read(file, as_version=4)
        node.cells[-1].source += "\nmine = 1"
        nbformat.write(node, file)
    elif work == "an output":
        file.write_text(file.read_text().replace('"outputs": []', '"outputs": [ ]').replace("small", "mine"))
    elif work == "a file":
        (folder / "notes.txt").write_text("mine")
    else:
        (folder / ".ipynb_checkpoints").mkdir()
    held = {each.name: each.is_dir() or each.read_bytes() for each in folder.iterdir()}
    runner.run(one, {})
    aside = next(each for each in Path("runs/ace").iterdir() if each.name != "quick")
    assert {each.name: each.is_dir() or each.read_bytes() for each in aside.iterdir()} == held
    assert runner.quick(one)


@pytest.mark.parametrize(
    "cells, sentence",
    [
        (
            ("BEGIN",),
            r"notebooks/01_ace.md ended without a record \(its last cell must be `run.finish\(\)`\)",
        ),
        (("BEGIN2", "run.finish()"), "notebooks/01_ace.md left a record of the chapter bench"),
        (
            ("BEGIN", "import os, pathlib\npathlib.Path(os.environ['CAUSALNB_RECORD']).write_text('{}')"),
            "ended without a record",
        ),
    ],
)
def test_a_notebook_without_its_record_replaces_nothing_and_is_kept(book, one, cells, sentence):
    before = runner.run(one, {}).record
    begin = {"BEGIN": book.begin, "BEGIN2": book.begin.replace('"ace"', '"bench"')}
    book(*(begin.get(cell, cell) for cell in cells))
    for number in (1, 2):
        with pytest.raises(UserError, match=f"{sentence}.*no run was replaced.*kept as runs/ace/failed/"):
            runner.run(one, {})
        assert len(list(Path("runs/ace/failed").glob("*.ipynb"))) == number
    assert runner.quick(one).record == before and not hidden()


def test_failed_notebooks_of_one_name_are_all_kept(book):
    for number in range(3):
        executed = Path("runs/ace/.20260101-000000-1/ace.ipynb").resolve()
        executed.parent.mkdir(parents=True, exist_ok=True)
        executed.write_text(str(number))
        places.keep_failed(executed)
    assert sorted(file.read_text() for file in Path("runs/ace/failed").iterdir()) == ["0", "1", "2"]


def test_what_stands_where_the_run_is_to_go_is_refused_before_the_work(one):
    Path("runs/ace").mkdir(parents=True)
    Path("runs/ace/quick").write_text("mine")
    with pytest.raises(UserError, match=r"^runs/ace/quick is not a folder, but a run is to stand there"):
        runner.run(one, {})
    assert Path("runs/ace/quick").read_text() == "mine" and not hidden()


@pytest.mark.parametrize("content", ["not a record", None])
def test_a_record_file_that_holds_something_else_is_not_replaced(one, monkeypatch, tmp_path, content):
    file = tmp_path / "mine.json"
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("CAUSALNB_RECORD", "mine.json")
    if content is None:
        notebook.begin("ace", eps=0.1).finish()
    else:
        file.write_text(content)
    held = file.read_bytes()
    with pytest.raises(
        UserError, match="^CAUSALNB_RECORD = .*mine.json holds something else than a run of ace"
    ):
        notebook.begin("ace", eps=0.2).finish()
    assert file.read_bytes() == held


# Kills, full disks, places that cannot be written ---------------------------------------------------------

CHANGES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}


def watched(folder, reached):
    """Call `reached` at every step that a process takes on the disk below a folder."""

    def hook(event, arguments):
        place = arguments[0] if arguments else ""
        if event in CHANGES and str(place).startswith(str(folder)):
            reached()

    return lambda: sys.addaudithook(hook)


def test_eight_kills_anywhere_leave_a_whole_run(one):
    runner.run(one, {})
    steps = Path("steps")
    count = steps.open("ab", buffering=0)
    runs = Path("runs").resolve()
    assert forked(lambda: runner.run(one, {}), before=watched(runs, lambda: count.write(b"x"))) == "done"
    taken = len(steps.read_bytes())
    assert taken > 12

    for at in [*random.Random(0).sample(range(taken - 9), 3), *range(taken - 5, taken)]:
        left = iter(range(at))

        def kill(left=left):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        assert forked(lambda: runner.run(one, {}), before=watched(runs, kill)) is None
        assert runner.local(one) and all(nbformat.read(run.notebook, 4).cells for run in runner.local(one))
    runner.run(one, {})
    assert runner.state(runner.quick(one), one).word == "fresh"


def test_a_full_disk_at_any_byte_is_a_sentence_and_loses_nothing(one):
    before = runner.run(one, {})
    held = {file.name: file.read_bytes() for file in before.folder.iterdir()}
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sizes = [len(content) for content in held.values()]
    for limit in [random.Random(1).randrange(max(sizes)) for _ in range(10)]:
        said = forked(
            lambda: runner.run(one, {"eps": 0.2}),
            before=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert "cannot be written (File too large)" in said and len(said.splitlines()) == 1
    assert {file.name: file.read_bytes() for file in before.folder.iterdir()} == held
    assert len(runner.local(one)) == 1


def test_a_disk_that_fills_when_the_run_is_done_keeps_the_whole_run(one, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places, "put", full)
    with pytest.raises(
        UserError, match="No space left on device.*; the run is whole, and kept in runs/ace/"
    ) as e:
        runner.run(one, {})
    part = Path(str(e.value).split("kept in ")[1].rstrip("."))
    assert record.read(part).parameters["eps"] == 0.3 and (part / "ace.ipynb").is_file()


@pytest.fixture
def nobody(inline, monkeypatch):
    """A small book that everybody may read, and a function that does something in it without root's rights."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "notebooks").mkdir()
        (folder / "_toc.yml").write_text("")
        (folder / "notebooks" / "01_ace.md").write_text(Path("notebooks/01_ace.md").read_text())
        monkeypatch.chdir(folder)
        monkeypatch.setenv("CAUSALNB_STORE", str(folder / "store"))
        yield lambda work: forked(work, before=give_up)


def give_up():
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


@pytest.fixture
def poor(book, inline, monkeypatch, nobody):
    """`nobody`, after a run that its owner made and published."""
    one = runner.chapter("ace")
    done = runner.run(one, {})
    runner.publish(done, one)
    for path in (Path(), *Path().rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    held = {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()}
    yield one, done, nobody
    for path in (Path(), *Path().rglob("*")):
        path.chmod(0o755)
    assert {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()} == held


def test_a_book_that_cannot_be_written_is_a_sentence_before_the_work_and_stays(poor, monkeypatch):
    one, done, nobody = poor
    monkeypatch.setattr(runner, "_execute", lambda *_: pytest.fail("the work was begun"))
    refused = r"cannot be written (Permission denied): choose a place that you may use, or change its rights."
    for work in (lambda: runner.run(one, {}), lambda: runner.run(one, {"eps": 0.2})):
        assert nobody(work).endswith(refused)
    assert nobody(lambda: runner.convert_to(one, Path("new/x.ipynb"))).endswith(refused)
    assert nobody(lambda: runner.publish(done, one)).endswith(refused)
    said = nobody(lambda: runner.require_publishable(one, {}))
    assert said.endswith("book/published/ace must be a folder that you may write to.")


def test_a_chapter_that_cannot_be_read_is_a_sentence(nobody):
    source = Path("notebooks/01_ace.md")
    source.chmod(0o000)
    assert nobody(lambda: runner.convert(runner.chapter("ace"))).endswith(
        "01_ace.md cannot be read (Permission denied): choose a place that you may use, or change its rights."
    )
    source.chmod(0o644)
    source.write_bytes(b"# A \xff title")
    with pytest.raises(UserError, match=r"^notebooks/01_ace.md is not UTF-8 text: save it as UTF-8.$"):
        runner.convert(runner.chapter("ace"))


def test_a_title_that_is_missing_is_the_chapter_s_name(book):
    Path("notebooks/02_bench.md").write_text("no title")
    assert runner.chapter("bench").title == "bench"


@pytest.mark.parametrize(
    "error", [RuntimeError("Kernel died before replying to kernel_info"), RuntimeError()]
)
def test_a_kernel_that_dies_is_a_sentence(one, monkeypatch, error):
    def die(*_, **__):
        raise error

    monkeypatch.setattr("papermill.execute_notebook", die)
    with pytest.raises(UserError, match="^The kernel that runs notebooks/01_ace.md did not start or died"):
        runner.run(one, {})
    assert not hidden()


# convert and publish --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "there", ["notebooks/01_ace.md", "mine.ipynb", "folder.ipynb", "runs", "new.md", "loop.ipynb"]
)
def test_convert_never_replaces_what_it_did_not_write(one, there):
    Path("mine.ipynb").write_text("{}")
    Path("folder.ipynb").mkdir()
    Path("runs").mkdir()
    Path("loop.ipynb").symlink_to("loop.ipynb")
    held = {file: file.read_bytes() for file in Path().rglob("*") if file.is_file() and not file.is_symlink()}
    with pytest.raises(UserError, match=r"is there already, and causalnb did not write it|ends in .ipynb"):
        runner.convert_to(one, Path(there))
    assert {file: file.read_bytes() for file in held} == held and not Path("new.md").exists()


def test_convert_replaces_its_own_notebook_and_follows_a_link(one):
    for _ in range(2):
        runner.convert_to(one, Path("out.ipynb"))
    Path("link.ipynb").symlink_to("deep/real.ipynb")
    runner.convert_to(one, Path("link.ipynb"))
    assert Path("link.ipynb").is_symlink() and Path("deep/real.ipynb").is_file()


@generated
@given(st.data())
def test_a_converted_notebook_that_was_changed_in_any_way_is_never_replaced(one, data):
    out = Path("out.ipynb")
    out.unlink(missing_ok=True)
    runner.convert_to(one, out)
    node = json.loads(out.read_text())
    cell = data.draw(st.sampled_from(node["cells"]))
    how = data.draw(st.sampled_from(["source", "tags", "outputs", "gone", "kernel", "bytes", "seal"]))
    if how == "source":
        cell["source"] = [data.draw(st.text(min_size=1).filter(lambda t: [t] != cell["source"]))]
    elif how == "tags":
        cell["metadata"]["tags"] = ["mine"]
    elif how == "outputs":
        node["cells"][1]["execution_count"] = data.draw(st.integers(1, 9))
    elif how == "gone":
        node["cells"].remove(cell)
    elif how == "kernel":
        node["metadata"]["kernelspec"]["name"] = "mine"
    elif how == "seal":
        node["metadata"].pop("causalnb")
    text = json.dumps(node)
    cut = data.draw(st.integers(0, len(text) - 1)) if how == "bytes" else len(text)
    out.write_text(text[:cut])
    held = out.read_bytes()
    with pytest.raises(UserError, match=r"^out.ipynb is there already, and causalnb did not write it"):
        runner.convert_to(one, out)
    assert out.read_bytes() == held


@generated
@given(
    parameters=st.lists(
        st.sampled_from([{}, {"eps": 0.2}, {"eps": 0.1}, {"seed": 1}, {"eps": 0.3}]), min_size=2, max_size=4
    )
)
def test_any_sequence_of_runs_keeps_one_of_every_set_of_parameters(one, parameters):
    for asked in parameters:
        runner.run(one, asked)
    kept = [(run.record.parameters["eps"], run.record.parameters["seed"]) for run in runner.local(one)]
    assert {(asked.get("eps", 0.3), asked.get("seed", 0)) for asked in parameters} <= set(kept)


def test_a_run_with_other_parameters_is_not_published_and_is_refused_before_the_work(one):
    done = runner.run(one, {"eps": 0.2})
    for refuse in (
        lambda: runner.publish(done, one),
        lambda: runner.require_publishable(one, {"eps": 0.2, "device": "cpu"}),
    ):
        with pytest.raises(UserError, match=r"^A run with eps = 0.2 cannot be published: book/published/"):
            refuse()
    assert not Path("book").exists()
    runner.require_publishable(one, {"device": "cpu", "threads": 2})


def test_publishing_replaces_the_one_there_and_leaves_nothing_else(one):
    for _ in range(2):
        shown = runner.publish(runner.run(one, {}), one)
        assert shown.record == record.read(shown.folder) == runner.published(one)[0].record
    assert [folder.name for folder in Path("book/published/ace").iterdir()] == ["quick-cpu"]


# By the real command --------------------------------------------------------------------------------------


def command(*arguments):
    """Exit code, stdout and stderr of `python -m causalnb ARGUMENTS`, in a process that imported it already."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        child = os.fork()
        if not child:
            os._exit(main(out, error, *arguments))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), error.seek(0)
        return code, out.read(), error.read()


def main(out, error, *arguments):
    sys.argv, sys.stdout, sys.stderr = ["causalnb", *arguments], out, error
    try:
        os.dup2(out.fileno(), 1), os.dup2(error.fileno(), 2)
        runpy.run_module("causalnb", run_name="__main__", alter_sys=False)
        return 0
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        out.flush(), error.flush()


def test_ten_bad_inputs_are_one_line_each_by_the_real_command(book):
    book()
    Path("mine.ipynb").write_text("{}")
    wrong = [
        (
            ["run", "01", "-p", "profile=quick", "--profile", "laptop"],
            "profile = 'laptop' and profile = 'quick'",
        ),
        (["run", "01", "-p", "eps=0.1", "-p", "eps=0.2"], "eps = '0.1' and eps = '0.2' were both asked"),
        (["run", "01", "-p", "eps=0.2", "--publish"], "A run with eps = 0.2 cannot be published"),
        (["run", "01", "-p", "data=./faces"], "./faces is neither a data set nor a folder"),
        (["run", "01", "-p", "data=~nobody-here/x"], "~nobody-here/x is not possible"),
        (["run", "01", "-p", "data=digits,digits"], "data = 'digits,digits' is not possible"),
        (["run", "01", "-p", "data="], "data = '' is not possible"),
        (["convert", "01", "notebooks/01_ace.md"], "notebooks/01_ace.md is no place for a notebook"),
        (["convert", "01", "mine.ipynb"], "mine.ipynb is there already"),
        (["convert", "01", "mine.ipynb/deep/out.ipynb"], "mine.ipynb/deep"),
    ]
    for arguments, sentence in wrong:
        code, out, error = command(*arguments)
        assert (code, out, len(error.splitlines())) == (1, "", 1), (arguments, error)
        assert sentence in error
    assert not Path("runs").exists() and Path("mine.ipynb").read_text() == "{}"


def picture(folder, grey):
    from PIL import Image

    for split in ("train", "test"):
        for name in "ab":
            (folder / split / name).mkdir(parents=True)
            Image.new("L", (28, 28), grey).save(folder / split / name / "0.png")


def test_a_relative_folder_is_the_one_where_the_command_was_typed_and_two_commands_keep_both_runs(book):
    look = 'run.measure("grey", exact(float(run.load(run.p.sets[0]).images.mean())), data=run.p.sets)'
    root = book(book.begin, look, "run.store.get_or_make({'what': 'x'}, lambda: {})", "run.finish()")
    picture(root / "faces", 0)
    picture(root / "deep" / "faces", 255)
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", "causalnb", "run", "01", "-p", "data=./faces", "-p", f"seed={seed}"],
            cwd=root / "deep",
            env=os.environ | {"PYTHONPATH": str(ROOT), "CAUSALNB_STORE": "kept"},
        )
        for seed in (1, 2)
    ]
    assert [process.wait() for process in begun] == [0, 0]
    runs = runner.local(runner.chapter("01"))
    assert sorted(run.record.parameters["seed"] for run in runs) == [1, 2]
    for run in runs:
        assert run.record.measurements["grey"].estimate.value == 1.0
        assert run.record.parameters["data"] == "./faces"
        assert str(root) not in (run.folder / "record.json").read_text()
    assert (root / "deep" / "kept").is_dir() and not (root / "kept").exists()
