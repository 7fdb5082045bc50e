import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from causalnb import UserError, attacks, cli, data, models, record, runner, training
from causalnb.attacks import panel, report, suites
from causalnb.cli import typed
from causalnb.parameters import Parameters

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


@pytest.mark.parametrize(
    "pair, sentence",
    [
        ("eps=-1", "eps = -1 is not possible"),
        ("n_images=0", "n_images = 0"),
        ("data=mnits", "mnits is neither a data set nor a folder (did you mean mnist?)"),
        ("eps", "-p eps is not possible: give NAME=VALUE"),
        ("device=cuda:77", "device = 'cuda:77'"),
    ],
)
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


@pytest.fixture
def mine(book, monkeypatch):
    """The arguments that attack a network of one's own: "linear", which knows the digits by their means, with
    pixels from -1 to 1.
    """
    train = data.load("digits8", "train")
    means = torch.stack(
        [2 * train.images[train.labels == label].mean(dim=0).flatten() - 1 for label in range(10)]
    )
    save_file({"1.weight": 2 * means, "1.bias": -means.square().sum(dim=1)}, book() / "mine.safetensors")

    def linear(*, classes, channels, size, seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, classes))

    monkeypatch.setitem(models.ARCHITECTURES, "linear", linear)
    return [
        "attack",
        "--model",
        "mine.safetensors",
        "--architecture",
        "linear",
        "--data",
        "digits8",
        "--eps",
        "8/255",
        "--n-images",
        "10",
    ]


def test_a_model_of_one_s_own_is_attacked_and_leaves_a_record(mine, monkeypatch, capsys):
    code, out, _ = causalnb(monkeypatch, capsys, *mine, "--mean", "0.5", "--std", "0.5")
    (left,) = Path("runs/attack").iterdir()
    assert left.name.startswith("mine-digits8-linf-0.03137-short-n10-seed0-")
    content = json.loads(left.read_text(encoding="utf-8"))
    assert (
        code == 0
        and out[0].startswith("clean accuracy ")
        and out[0].endswith("n = 10")
        and out[-1] == f"record: {left}"
    )
    assert any(line.startswith("sanity panel: ") for line in out) and any(
        line.startswith("fgsm  ") for line in out
    )
    expected = {
        "model": mine[2],
        "architecture": "linear",
        "data": "digits8",
        "norm": "linf",
        "eps": 8 / 255,
        "suite": "short",
        "seed": 0,
        "n": 10,
        "mean": [0.5],
        "std": [0.5],
    }
    assert expected.items() <= content.items() and content["model_digest"] == record.file_digest(
        Path(mine[2])
    )
    some = data.draw(data.load("digits8", "test"), 10, seed=0)
    net = models.load(mine[2], "linear", classes=10, channels=1, size=8, mean=(0.5,), std=(0.5,))
    assert (
        content["verdicts"]["correct"]
        == (training.predict(net, some.images).argmax(dim=1) == some.labels).int().tolist()
    )
    assert content["clean"]["value"] == sum(content["verdicts"]["correct"]) / 10 > 0.5


def test_what_is_asked_of_an_attack_is_what_is_attacked(mine, monkeypatch, capsys):
    asked = {}

    class Done:
        def write(self, path):
            return path

    monkeypatch.setattr(
        "causalnb.attacks.asked.report",
        lambda net, images, *, tell, **given: (
            tell("done") or asked.update(given, net=net, images=images) or Done()
        ),
    )
    code, out, _ = causalnb(
        monkeypatch,
        capsys,
        *mine,
        "--norm",
        "l2",
        "--suite",
        "rand",
        "--seed",
        "3",
        "--n-images",
        "9999",
        "--output",
        "deep/mine.json",
    )
    assert (code, out) == (0, ["done", "", "record: deep/mine.json"]) and len(asked["images"]) == len(
        data.load("digits8", "test")
    )
    assert (asked["norm"], asked["suite"], asked["seed"], asked["eps"]) == (
        "l2",
        "rand",
        3,
        8 / 255,
    ) and isinstance(asked["net"], nn.Sequential)


@pytest.mark.parametrize(
    "changed, sentence",
    [
        (("--eps", "much"), "eps = 'much' is not possible: give a number such as 0.3"),
        (("--suite", "plus"), "suite = 'plus' is not possible: it is one of short, "),
        (("--norm", "l1"), "norm = 'l1' is not possible: it is one of linf, l2."),
        (("--mean", "grey", "--std", "1"), "mean = 'grey' is not possible: give one number"),
        (("--mean", "0.5"), "mean = (0.5,) and std = None do not fit images of 1 channels"),
        (("--data", "mnits"), "mnits is neither a data set nor a folder"),
        (("--model", "gone.safetensors"), "gone.safetensors cannot be read"),
        (("--n-images", "0"), "n_images = 0 is not possible"),
        (("--architecture", "lenet"), "LeNet cannot take images of 8 x 8 pixels"),
    ],
)
def test_what_cannot_be_attacked_is_one_line(mine, monkeypatch, capsys, changed, sentence):
    code, out, err = causalnb(monkeypatch, capsys, *mine, *changed)
    assert (code, out, len(err)) == (1, [], 1) and err[0].startswith(sentence)


@pytest.fixture
def cheap(monkeypatch):
    """Attacks by noise of size nothing, without a panel; the list grows with each."""
    done = []

    def evaluation(model, images, labels, *, norm, suite, seed, **given):
        done.append(suite)
        placebo = [suites.Step("noise", {"kind": "sign"})]
        made = attacks.evaluate(model, images, labels, norm="linf", eps=0.0, suite=placebo, seed=seed)
        return replace(made, suite=suite)

    monkeypatch.setattr("causalnb.attacks.report.evaluate", evaluation)
    some = panel.Panel((panel.Row(5, "a row", "pass", 0.0, "0 of 8"),), 8)
    monkeypatch.setattr("causalnb.attacks.report.sanity_panel", lambda *_, **given: some)
    return done


@pytest.mark.parametrize("where", [(), ("--output", "mine")])
def test_attacks_that_differ_in_one_thing_leave_a_record_each_and_the_same_again_the_same(
    mine, cheap, monkeypatch, capsys, where
):
    Path("deep").mkdir()
    save_file({name: -values for name, values in load_file(mine[2]).items()}, "deep/mine.safetensors")
    changes = [
        (),
        ("--eps", "0.031373"),
        ("--norm", "l2"),
        ("--suite", "rand"),
        ("--data", "digits", "--model", "digits.safetensors"),
        ("--model", "deep/mine.safetensors"),
        ("--n-images", "9"),
        ("--seed", "1"),
        ("--mean", "0.5", "--std", "0.5"),
        ("--mean", "0.5", "--std", "0.25"),
        (),
    ]
    save_file({"1.weight": torch.ones(10, 784), "1.bias": torch.zeros(10)}, "digits.safetensors")
    said = [causalnb(monkeypatch, capsys, *mine, *where, *changed) for changed in changes]
    assert [(code, err) for code, _, err in said] == [(0, [])] * len(changes)
    places = [out[-1].removeprefix("record: ") for _, out, _ in said]
    assert len(set(places)) == len(changes) - 1 and places[0] == places[-1] and len(cheap) == len(changes)
    for place in places:
        assert json.loads(Path(place).read_text(encoding="utf-8"))["schema_version"] == 1


@pytest.mark.parametrize(
    "output, sentence",
    [
        ("mine.safetensors", "output = 'mine.safetensors' is not possible: a record is a .json file"),
        ("notes.json", "notes.json is no record of an attack, and is not overwritten: give another output."),
        ("_toc.yml", "output = '_toc.yml' is not possible: a record is a .json file"),
        ("_toc.yml/a.json", "_toc.yml cannot be written (File exists)"),
        ("n" * 300 + ".json", "n" * 300 + ".json cannot be written (File name too long)"),
    ],
)
def test_a_place_where_no_record_may_stand_is_refused_before_the_work_and_left_alone(
    mine, cheap, monkeypatch, capsys, output, sentence
):
    Path("notes.json").write_text('{"mine": 1}')
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    code, out, err = causalnb(monkeypatch, capsys, *mine, "--output", output)
    assert (code, out, len(err), cheap) == (1, [], 1, []) and err[0].startswith(sentence)
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_a_record_of_another_attack_is_refused_before_the_work_and_left_alone(
    mine, cheap, monkeypatch, capsys
):
    assert causalnb(monkeypatch, capsys, *mine, "--output", "mine.json")[0] == 0
    before = Path("mine.json").read_bytes()
    code, out, err = causalnb(monkeypatch, capsys, *mine, "--output", "mine.json", "--eps", "0.1")
    assert (code, out, len(cheap)) == (1, [], 1) and err == [
        "mine.json is the record of another attack (eps differ), and is not overwritten: give another output."
    ]
    assert Path("mine.json").read_bytes() == before


def test_help_lists_every_value(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    text = " ".join(" ".join(causalnb(monkeypatch, capsys, "attack", "--help")[1]).split())
    for word in ("linf or l2", *suites.SUITES, *models.ARCHITECTURES, "torchvision's", "cuda:1 or mps"):
        assert word in text
    assert "what those images were divided by: 0.25" in text
    assert "quick, laptop, gpu or full" in " ".join(causalnb(monkeypatch, capsys, "run", "--help")[1])


def test_case_does_not_matter(mine, cheap, monkeypatch, capsys):
    changed = ("--norm", "Linf", "--suite", "SHORT", "--architecture", "Linear", "--data", "Digits8")
    places = [causalnb(monkeypatch, capsys, *mine, *more, "--device", "CPU")[1][-1] for more in ((), changed)]
    first, second = (json.loads(Path(place.removeprefix("record: ")).read_text()) for place in places)
    assert first["data"] == second["data"] == "digits8" and second["norm"] == "linf"
    pairs = ["data=DIGITS", "device=CPU", "profile=Quick", "variant=Tanh-Average"]
    p = runner.check(runner.chapter("ACE"), typed.values(pairs, None))
    assert (p.data, p.device, p.profile, p.variant) == ("digits", "cpu", "quick", "tanh-average")


@pytest.mark.parametrize("text", ["8/255", "8 / 255", "8/255.", " 8 /255", "8.0/2.55e2", repr(8 / 255)])
def test_a_budget_is_a_fraction_however_it_is_spelled(book, text):
    assert report.budget(text) == 8 / 255
    assert runner.check(runner.chapter("ace"), typed.values([f"eps={text}"], None)).eps == 8 / 255


def test_a_fraction_reaches_the_notebook_and_its_record(book, inline):
    assert (
        runner.run(runner.chapter("ace"), {"eps": "51 / 255", "n_images": "20"}).record.parameters["eps"]
        == 0.2
    )


PIPED = """
import sys, torch
from causalnb import cli, models
def linear(*, classes, channels, size, seed):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * size**2, classes))
models.ARCHITECTURES["linear"] = linear
from causalnb.attacks import suites
seen = []
run = suites.run
def noted(name, *given, **more):
    print("BEGINS " + name, file=sys.stderr, flush=True)
    return run(name, *given, **more)
suites.run = noted
cli.main()
"""


def test_the_table_comes_while_it_runs_into_a_pipe_too(mine):
    asked = [sys.executable, "-c", PIPED, *mine, "--mean", "0.5", "--std", "0.5"]
    told = subprocess.run(
        asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout.splitlines()
    begins = {line.split()[1]: place for place, line in enumerate(told) if line.startswith("BEGINS ")}
    row = next(place for place, line in enumerate(told) if line.startswith("pgd-10 "))
    assert told.index("BEGINS pgd") < row < begins["square"] and told[-1].startswith("record: ")


def test_records_of_attacks_are_compared_and_judged(mine, cheap, monkeypatch, capsys):
    for name, more in (("a", ()), ("b", ("--seed", "1")), ("c", ("--n-images", "9", "--first"))):
        causalnb(monkeypatch, capsys, *mine, *more, "--output", f"{name}.json")
    code, out, err = causalnb(monkeypatch, capsys, "compare", "a.json", "b.json")
    assert (code, err) == (0, []) and out[0] == "asked: seed  0  1"
    assert [line.split()[0] for line in out[1:4]] == ["broken.noise", "clean", "robust"]
    out = causalnb(monkeypatch, capsys, "compare", "a.json", "c.json")[1]
    assert "asked: drawn  None  the first" in out
    code, out, err = causalnb(monkeypatch, capsys, "judge", "a.json")
    assert (code, err) == (0, []) and out[0].startswith("pass            a row")
    assert out[-1].startswith("robust accuracy ")
    code, out, err = causalnb(monkeypatch, capsys, "compare", "a.json", "runs")
    assert (code, out, len(err)) == (1, [], 1)
    Path("d.json").write_text('{"panel": [], "suite": 1}')
    assert causalnb(monkeypatch, capsys, "judge", "d.json")[2][0].startswith(
        "d.json is no record of an attack"
    )


def test_the_first_images_of_a_set_may_be_chosen(mine, cheap, monkeypatch, capsys):
    causalnb(monkeypatch, capsys, *mine, "--first", "--output", "first.json")
    some = data.load("digits8", "test").take(slice(10))
    net = models.load(mine[2], "linear", classes=10, channels=1, size=8)
    assert (
        json.loads(Path("first.json").read_text())["verdicts"]["correct"]
        == (net(some.images).argmax(dim=1) == some.labels).int().tolist()
    )


def folder(root, *classes, split="test", n=3):
    from PIL import Image

    for k, name in enumerate(classes):
        (root / split / name).mkdir(parents=True)
        for i in range(n):
            Image.new("L", (8, 8), 20 * k + i).save(root / split / name / f"{i}.png")
    return root


def test_a_network_of_more_classes_and_its_options_are_asked_for(mine, cheap, monkeypatch, capsys):
    folder(Path("two"), "cat", "dog")
    asked = [*mine, "--data", "two"]
    code, out, err = causalnb(monkeypatch, capsys, *asked)
    assert (
        code == 1
        and "these weights tell 10 classes apart, so give `classes` (2 numbers from 0 to 9)" in err[0]
    )
    assert causalnb(monkeypatch, capsys, *asked, "--classes", "7,3")[0] == 0
    assert (
        "two has 2 classes (cat, dog), so give as many"
        in (causalnb(monkeypatch, capsys, *asked, "--classes", "7")[2][0])
    )
    assert causalnb(monkeypatch, capsys, *asked, "--option", "width")[2] == [
        "--option width is not possible: give NAME=VALUE, for example --option width=0.5."
    ]
    options = ("--architecture", "vgg16_cifar", "--option", "wide=2")
    assert causalnb(monkeypatch, capsys, *asked, *options)[2][0].startswith(
        "wide is no option of vgg16_cifar"
    )


def test_an_option_reaches_the_architecture_and_the_record(mine, cheap, monkeypatch, capsys):
    linear, seen = models.ARCHITECTURES["linear"], []

    def chosen(*, classes, channels, size, seed, wide=1.0):
        seen.append(wide)
        return linear(classes=classes, channels=channels, size=size, seed=seed)

    monkeypatch.setitem(models.ARCHITECTURES, "linear", chosen)
    assert causalnb(monkeypatch, capsys, *mine, "--option", "wide=0.5", "--output", "a.json")[0] == 0
    assert seen == [0.5] and json.loads(Path("a.json").read_text())["options"] == {"wide": "0.5"}


def test_adopt_brings_an_edited_cell_back(book, monkeypatch, capsys):
    causalnb(monkeypatch, capsys, "convert", "01", "in.ipynb")
    file = Path("in.ipynb")
    file.write_text(file.read_text().replace("run.finish()", "run.finish()  # mine"))
    said = causalnb(monkeypatch, capsys, "adopt", "in.ipynb")
    assert said == (0, ["4 cells as they were, 1 changed, 0 new, 0 gone"], [])
    assert "\nrun.finish()  # mine\n" in Path("notebooks/01_ace.md").read_text()


@pytest.mark.parametrize("name", ["mine", "2024", "a,b", "x{y}", "1e3", "with blank"])
def test_run_and_attack_take_the_same_folders(mine, cheap, monkeypatch, capsys, name):
    folder(Path(name), *"0123456789")
    code, _, err = causalnb(monkeypatch, capsys, *mine, "--data", name)
    assert (code, err) == (0, [])
    p = Plain.resolve(typed.values([f"data={name}"], None))
    assert p.sets == (name,) and data.require(name) is None


class Plain(Parameters):
    pass


def test_a_comma_in_a_path_among_several_is_escaped_and_told(book):
    folder(book() / "a,b", "0")
    assert Plain.resolve({"data": r"mnist,a\,b"}).sets == ("mnist", "a,b")
    with pytest.raises(
        UserError, match=r"a is neither a data set nor a folder.* \(a comma in it is written \\,\)"
    ):
        data.require("a")


def test_spread_keeps_what_the_chapter_measured_and_says_where(book, monkeypatch, capsys, tmp_path):
    def measured(begin):
        run = begin(seed=101)
        return {f"{run.chapter}.seed": [float(run.p.seed), 102.0], "other": [0.5]}

    monkeypatch.setattr("causalnb.chapters.ace.seed_spread.measured", measured)
    monkeypatch.setattr("causalnb.chapters.ace.seed_spread.SEEDS", (101, 102))
    shutil.copy(ROOT / "causalnb" / "chapters" / "ace" / "ledger.yaml", tmp_path)
    monkeypatch.setattr("causalnb.ledger.source._spreads_of", lambda chapter: tmp_path / f"{chapter}.json")
    assert causalnb(monkeypatch, capsys, "spread", "01") == (0, ["2 spreads: ace.json"], [])
    assert json.loads((tmp_path / "ace.json").read_text()) == {
        "seeds": [101, 102],
        "values": {"ace.seed": [101.0, 102.0], "other": [0.5]},
    }


def test_spread_of_a_chapter_that_measures_none_is_one_line(book, monkeypatch, capsys):
    (book() / "notebooks" / "02_bench.md").write_text("# A chapter without cells\n")
    code, out, err = causalnb(monkeypatch, capsys, "spread", "bench")
    assert (code, out, len(err)) == (1, [], 1) and err[0].startswith("bench ") and "seed_spread.py" in err[0]


def test_the_command_s_help_needs_no_traceback():
    shown = subprocess.run(
        [sys.executable, "-m", "causalnb", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for verb in ("run", "convert", "status", "compare", "store", "data", "judge", "attack", "book"):
        assert verb in shown


COLD = """
import contextlib, io, json, sys
from causalnb import cli
for command in json.loads(sys.argv[1]):
    sys.argv = ["causalnb", *command]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with contextlib.suppress(SystemExit):
            cli.main()
    print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""
HEAVY = "torch torchvision foolbox eagerpy pyautoattack matplotlib scipy sklearn numpy PIL jupytext papermill nbformat "
HEAVY += "IPython jupyter_client jinja2 yaml safetensors joblib"
LEARNING = "torch torchvision foolbox eagerpy pyautoattack matplotlib sklearn papermill IPython joblib"


def loaded(*commands):
    """The modules that one process has loaded after each command."""
    ran = subprocess.run(
        [sys.executable, "-c", COLD, json.dumps(commands)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [set(json.loads(line)) for line in ran.stdout.splitlines()]


def test_help_and_words_that_are_no_command_load_nothing_heavy():
    for modules in loaded(["--help"], ["store", "--help"], ["nothing"], ["run"], ["attack"]):
        assert modules & set(HEAVY.split()) == set()


def test_what_needs_no_network_loads_no_library_for_networks():
    commands = [
        ["data"],
        ["store"],
        ["compare", "a", "b"],
        ["run", "01", "-p", "epss=0.2"],
        ["run", "acer"],
        ["convert", "01", "x.txt"],
        ["status"],
        ["judge", "book/published/ace/laptop-cpu"],
    ]
    for command, modules in zip(commands, loaded(*commands), strict=True):
        assert modules & set(LEARNING.split()) == set(), command
