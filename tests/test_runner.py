import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from causalnb import UserError, runner

ROOT = Path(__file__).parents[1]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}


def papermill(folder, *arguments):
    """Plain papermill on the converted notebook: exit code, lines of stderr."""
    command = [
        sys.executable,
        "-m",
        "papermill",
        "in.ipynb",
        "out.ipynb",
        "-k",
        "python3",
        "--no-progress-bar",
        *arguments,
    ]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip().splitlines()


@pytest.fixture
def converted(book):
    import nbformat

    folder = book()
    nbformat.write(runner.convert(runner.chapter("01")), folder / "in.ipynb")
    return folder


def test_a_chapter_is_found_by_name_and_number(book):
    assert runner.chapter("ace") == runner.chapter("01") == runner.chapter("1")
    assert runner.chapter("01").title == "A small chapter"
    with pytest.raises(UserError, match=r"07 is not a chapter of this book. Known are 01 ace"):
        runner.chapter("07")


def test_a_run_leaves_a_notebook_and_a_record_and_is_fresh_until_the_notebook_changes(book):
    one = runner.chapter("ace")
    assert runner.state(runner.quick(one), one).word == "never run"
    done = runner.run(one, {})
    assert done.folder == Path("runs/ace/quick").resolve()
    assert done.record.measurements["small.eps"].estimate.value == 0.3
    assert done.record.sections[0].name == "one"
    assert runner.state(runner.quick(one), one) == runner.State("fresh")
    book(book.begin, book.measure, "x = 1", "run.finish()")
    assert runner.state(runner.quick(one), one) == runner.State("stale", ("the notebook",))


def test_another_parameter_is_another_run_and_names_no_folder_of_this_machine(book):
    done = runner.run(runner.chapter("ace"), {"eps": 0.2})
    assert done.folder.name.startswith("quick-")
    assert done.record.parameters["eps"] == 0.2
    assert str(Path.cwd()) not in done.notebook.read_text() + (done.folder / "record.json").read_text()


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"epss": 0.2}, "epss is not a parameter of this chapter; did you mean eps?"),
        ({"eps": -1}, "eps = -1 is not possible"),
        ({"n_images": 0}, "n_images = 0 is not possible"),
        ({"data": "mnits"}, "mnits is neither a data set nor a folder"),
        ({"data": "mnist"}, "mnist is not at hand"),
        ({"device": "cuda:99"}, "device = 'cuda:99' is not possible"),
    ],
)
def test_what_cannot_be_is_refused_before_a_kernel_starts(book, values, sentence):
    with pytest.raises(UserError, match=sentence):
        runner.run(runner.chapter("ace"), values)
    assert not Path("runs").exists()


def test_a_failed_notebook_is_kept_apart_and_the_run_before_it_stays(book):
    before = runner.run(runner.chapter("ace"), {}).record.finished
    book(book.begin, "1 / 0", "run.finish()")
    with pytest.raises(
        UserError,
        match=r"failed with ZeroDivisionError: division by zero in cell 3. It is kept as runs/ace/failed/",
    ):
        runner.run(runner.chapter("ace"), {})
    assert len(list(Path("runs/ace/failed").glob("*.ipynb"))) == 1
    assert runner.quick(runner.chapter("ace")).record.finished == before
    assert not list(Path("runs/ace").glob(".*"))


@pytest.mark.parametrize(
    "stub, sentence",
    [
        (
            "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB')",
            "The device cpu ran out of memory: lower n_images",
        ),
        (
            "raise RuntimeError('CUDA error: unspecified launch failure')",
            "The device cpu stopped answering: start the run again",
        ),
    ],
)
def test_a_device_that_fails_is_a_sentence(book, stub, sentence):
    book(book.begin, f"import torch\n{stub}")
    with pytest.raises(UserError, match=sentence):
        runner.run(runner.chapter("ace"), {})


def test_another_runtime_error_keeps_its_traceback(book):
    book(book.begin, "raise RuntimeError('shapes differ')")
    with pytest.raises(UserError, match="failed with RuntimeError: shapes differ"):
        runner.run(runner.chapter("ace"), {})
    cell = json.loads(next(Path("runs/ace/failed").glob("*.ipynb")).read_text())["cells"]
    assert "shapes differ" in str(cell)


def test_plain_papermill_works_and_leaves_its_record_beside_the_output(converted):
    code, lines = papermill(converted, "-p", "profile", "quick", "-p", "eps", "0.2", "--inject-output-path")
    assert code == 0, lines
    assert json.loads((converted / "out.record.json").read_text())["parameters"]["eps"] == 0.2
    code, lines = papermill(converted, "-p", "eps", "0.1")
    assert code == 0, lines
    assert len(list((converted / "runs" / "ace").glob("quick-*/record.json"))) == 1


@pytest.mark.parametrize(
    "name, value, sentence",
    [
        ("epss", "0.2", "epss is not a parameter of this chapter; did you mean eps? Known are profile"),
        ("eps", "-1", "eps = -1 is not possible: the attack budget is a number above 0 to 1 (pixel units)."),
        ("n_images", "0", "n_images = 0 is not possible"),
        ("data", "mnits", "mnits is neither a data set nor a folder"),
    ],
)
def test_plain_papermill_ends_with_the_sentence_alone(converted, name, value, sentence):
    code, lines = papermill(converted, "-p", name, value)
    assert code != 0
    assert lines[-1].startswith(sentence)


def test_help_lists_every_parameter_of_the_real_chapter_with_type_default_and_meaning(tmp_path, monkeypatch):
    import nbformat

    from causalnb.chapters.ace.parameters import Parameters

    monkeypatch.chdir(ROOT)
    nbformat.write(runner.convert(runner.chapter("01")), tmp_path / "in.ipynb")
    command = [sys.executable, "-m", "papermill", str(tmp_path / "in.ipynb"), "--help-notebook"]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True).stdout
    for name, field in Parameters.model_fields.items():
        line = next(
            line
            for line in shown.replace("\n" + " " * 10, " ").splitlines()
            if line.strip().startswith(f"{name}: ")
        )
        assert "Unknown type" not in line and "(default" in line, line
        assert " ".join(field.description.split()[:3]) in " ".join(shown.split()), name


TRAIN = """
import time, torch
from pathlib import Path
from causalnb import data, training
from causalnb.models import lenet
images = data.draw(run.load("digits", "train"), 500, seed=0)
recipe = training.Recipe(optimiser="adam", rate=1e-3, epochs=6, batch=50)
key = {"what": "kill test", "recipe": recipe.model_dump()}
def make():
    def evaluate(model):
        Path("epochs.txt").open("a").write("x")
        return 0.0
    fit = training.fit(lenet(seed=0), images, training.cross_entropy, recipe, checkpoint=run.store.folder(key) / "checkpoint", evaluate=evaluate)
    return dict(fit.model.state_dict())
weights = run.store.get_or_make(key, make)
"""


def weights_after(folder, monkeypatch, store):
    monkeypatch.setenv("CAUSALNB_STORE", str(folder / store))
    runner.run(runner.chapter("ace"), {})
    return {
        name: tensor
        for file in (folder / store).rglob("*.safetensors")
        for name, tensor in load_file(file).items()
        if name.startswith("fc")
    }


def test_a_run_killed_in_mid_training_resumes_to_the_same_weights(book, monkeypatch):
    folder = book(book.begin, TRAIN, "run.finish()")
    whole = weights_after(folder, monkeypatch, "whole")
    (folder / "epochs.txt").unlink()
    monkeypatch.setenv("CAUSALNB_STORE", str(folder / "killed"))
    process = subprocess.Popen(
        [sys.executable, "-c", "from causalnb import runner; runner.run(runner.chapter('01'), {})"],
        env=environment(),
    )
    deadline = time.monotonic() + 120
    while (
        not ((folder / "epochs.txt").exists() and len((folder / "epochs.txt").read_text()) >= 2)
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    kernels = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    for pid in (process.pid, *map(int, kernels)):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    before = len((folder / "epochs.txt").read_text())
    assert 2 <= before < 6
    resumed = weights_after(folder, monkeypatch, "killed")
    assert len((folder / "epochs.txt").read_text()) < before + 6
    assert whole.keys() == resumed.keys() and len(whole) == 6
    assert all(whole[name].equal(resumed[name]) for name in whole)
