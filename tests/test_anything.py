"""Generated inputs at six doors, two hundred and more, each with its right outcome: the value, or one sentence. Ten
go through a real command; none ends in a traceback. How many were asked at each door is counted and told.
"""

import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from causalnb import UserError, data, models, runner
from causalnb.attacks import evaluate
from causalnb.attacks.suites import Step
from causalnb.chapters.ace.parameters import Parameters
from causalnb.cli import typed

ROOT = Path(__file__).parents[1]
DOORS = {"command line": 60, "papermill": 15, "evaluate": 50, "load": 30, "cut": 24, "data": 24}
REAL = 10  # of the command line's and beside them, by a real command
COUNTED = Counter()  # (door, "value" or "sentence")
SPACE = st.sampled_from(["", " ", "  "])


def generated(door):
    return settings(
        max_examples=DOORS.get(door, REAL),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def outcome(door, ask, expected=None):
    """What `ask` gives, counted; a refusal must be one sentence, and expected where `expected` is UserError."""
    try:
        found = ask()
    except (UserError, ValueError) as error:
        COUNTED[door, "sentence"] += 1
        text = str(error)
        assert expected is UserError and text.strip() and len(text) < 1000, text
        assert len(text.splitlines()) == (3 if "torch's pickle" in text else 1), text
        return text
    COUNTED[door, "value"] += 1
    assert expected is not UserError, found
    return found


def mostly(right, wrong):
    """Of the right ones five times in six."""
    return st.integers(0, 5).flatmap(lambda k: st.sampled_from(right if k else wrong))


@st.composite
def numbers(draw):
    """A text for eps, and its value (None: refused)."""
    top, bottom = draw(st.integers(-3, 20)), draw(st.integers(0, 255))
    left, right = draw(SPACE), draw(SPACE)
    kind = draw(st.sampled_from(["plain", "fraction", "point", "word"]))
    if kind == "plain":
        value = draw(st.floats(-0.5, 1.5, width=32) | st.sampled_from([1e400, float("nan"), -1e400]))
        return f"{left}{value!r}{right}", value if 0 < value <= 1 else None
    if kind == "word":
        return draw(
            st.sampled_from(["", "x", "1/2/3", "0,3", "8//255", "1e", "٣", "1" * 31, "9" * 5000, "\0", "-"])
        ), None
    text = f"{top}{'.' if kind == 'point' else ''}{left}/{right}{bottom}"
    return text, (top / bottom if bottom and 0 < top / bottom <= 1 else None)


@generated("command line")
@given(numbers())
def test_a_parameter_from_the_command_line(case):
    text, value = case
    if text == "٣":  # a digit that Python reads: 3, which is too large
        value = None
    p = outcome(
        "command line",
        lambda: Parameters.resolve(typed.values([f"eps={text}"], None)),
        UserError if value is None else None,
    )
    assert value is None or p.eps == value


@generated("papermill")
@given(st.sampled_from(["eps", "seed", "data", "device", "epss", "n_images"]), st.data())
def test_a_parameter_through_papermill(book, inline, name, more):
    good = {
        "eps": [0.2, "1/5", Fraction(1, 4)],
        "seed": [3, "3"],
        "data": ["digits"],
        "device": ["CPU", "auto"],
    }
    bad = {"eps": ["x", 2, -1, True], "seed": [-1, 10**30, 0.5], "data": ["nowhere", "", "cifar10"]}
    bad |= {"device": ["meta", "tpu"], "epss": [0.2], "n_images": ["many", 0]}
    right = name in good and more.draw(st.booleans())
    value = more.draw(st.sampled_from((good if right else bad)[name]))
    done = outcome(
        "papermill", lambda: runner.run(runner.chapter("ace"), {name: value}), None if right else UserError
    )
    assert not right or done.record.parameters[name] == getattr(Parameters.resolve({name: value}), name)


IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
NET = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
LABELS = NET(IMAGES).argmax(dim=1)


@generated("evaluate")
@given(
    mostly([0.1, np.float32(0.1), Fraction(1, 10), np.array(0.1)], [1e400, 10**400, -1, "x", None, math.nan]),
    mostly([0, np.int64(3), Fraction(4)], [10**31, -1, 1.5, "3"]),
    mostly(
        ["tensor", "array", "list", "double", "half"],
        ["bytes", "ragged", "dark", "few labels", "nan labels"],
    ),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_evaluate(eps, seed, kind, dtype):
    given_images = {
        "tensor": IMAGES,
        "array": IMAGES.numpy(),
        "list": IMAGES.tolist(),
        "double": IMAGES.double(),
        "half": IMAGES.half(),
        "bytes": (IMAGES * 255).byte(),
        "ragged": [[1.0], [1.0, 2.0]],
        "dark": IMAGES - 1,
    }.get(kind, IMAGES)
    labels = {"few labels": LABELS[:3], "nan labels": LABELS.float(), "array": LABELS.numpy()}.get(
        kind, LABELS
    )
    right = kind in ("tensor", "array", "list", "double", "half")
    right &= not (eps is None or isinstance(eps, str) or not 0 <= eps <= 1)
    right &= not isinstance(seed, str) and 0 <= seed < 2**63 and int(seed) == seed
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    model.load_state_dict(NET.state_dict())
    made = outcome(
        "evaluate",
        lambda: evaluate(
            model.to(dtype), given_images, labels, norm="linf", eps=eps, suite=[Step("fgsm", {})], seed=seed
        ),
        None if right else UserError,
    )
    if right:
        asked = model(made.images.to(dtype)).argmax(dim=1)
        assert torch.equal(asked == LABELS, made.robust) and (made.images - IMAGES).abs().max() <= 0.1 + 1e-3


@generated("load")
@given(
    st.lists(st.sampled_from(["module.", "model.", "_orig_mod.", "net.", "a.b."]), max_size=3),
    st.sampled_from(
        ["", "", "missing", "many", "shape", "kind", "infinite", "pickle", "cut off", "text", "gone"]
    ),
)
def test_load(prefixes, fault):
    tensors = {
        name: values.clone() for name, values in models.lenet(classes=3, size=12, seed=1).state_dict().items()
    }
    expected = models.lenet(classes=3, size=12, seed=1)
    if fault == "missing":
        del tensors["fc2.bias"]
    changes = {"many": torch.zeros(1), "shape": torch.zeros(7), "kind": torch.zeros(3).int()}
    changes["infinite"] = torch.full((3,), torch.inf)
    if fault in changes:
        tensors["more" if fault == "many" else "fc3.bias"] = changes[fault]
    tensors = {"".join(prefixes) + name: values for name, values in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.pt"
        if fault == "pickle":
            torch.save(tensors, path)
        elif fault == "text":
            path.write_text("weights")
        elif fault != "gone":
            save_file(tensors, path)
        if fault == "cut off":
            path.write_bytes(path.read_bytes()[:-9])
        net = outcome(
            "load",
            lambda: models.load(path, "LeNet", classes=3, channels=1, size=12),
            UserError if fault else None,
        )
    images = torch.rand(2, 1, 12, 12)
    assert fault or torch.equal(net(images), expected.eval()(images))


@generated("cut")
@given(
    st.sampled_from(["0", "1", "2", "", "x", "1.weight", "conv"]),
    st.sampled_from(["", "script", "inference", "array"]),
)
def test_cut(layer, how):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 2))
    asked = torch.jit.script(model) if how == "script" else model
    images = IMAGES.numpy() if how == "array" else IMAGES
    with torch.inference_mode(how == "inference"):
        right = layer in ("0", "1", "2") and how != "script"
        halves = outcome("cut", lambda: models.cut(asked, layer, images), None if right else UserError)
    if right:
        assert torch.equal(halves.tail(halves.head(IMAGES)), model(IMAGES))


@generated("data")
@given(st.data())
def test_data(draw):
    names = draw.draw(
        st.lists(
            st.sampled_from(["0", "2", "10", "cat", "été", ".ipynb_checkpoints", "__MACOSX"]), unique=True
        )
    )
    place = draw.draw(st.sampled_from(["test", "test", "val", "train", ""]))
    fault = draw.draw(st.sampled_from(["", "", "", "empty class", "text", "float", "alpha"]))
    classes = [name for name in names if name[0] not in "._"]
    with tempfile.TemporaryDirectory() as root:
        for name in names:
            (Path(root) / place / name).mkdir(parents=True)
            picture = {"float": Image.new("F", (6, 6)), "alpha": Image.new("RGBA", (6, 6), (9, 9, 9, 9))}
            file = Path(root) / place / name / "a.png"
            if fault == "text":
                file.write_text("no picture")
            elif fault != "empty class":
                picture.get(fault, Image.new("L", (6, 6), 5)).save(
                    file, "TIFF" if fault == "float" else "PNG"
                )
        right = bool(classes) and place in ("test", "val") and not fault
        some = outcome("data", lambda: data.load(root, "test"), None if right else UserError)
    if right:
        numeric = all(name.isdecimal() for name in classes)
        assert list(some.classes) == sorted(classes, key=int if numeric else str)
        assert some.labels.tolist() == list(range(len(classes)))


WORDS = st.text("abcdefgh-", min_size=1, max_size=12).map(lambda word: f"x{word}")
ATTACK = ["attack", "--model", "x", "--architecture", "lenet", "--data", "digits", "--eps"]


@st.composite
def commands(draw):
    """Words after `causalnb`, and how what it says begins: on stdout where `right`, else on stderr."""
    word, text = draw(WORDS), draw(numbers().filter(lambda case: case[1] is None and "\0" not in case[0]))[0]
    right, device = draw(st.booleans()), draw(st.sampled_from(["meta", word]))
    return right, *draw(
        st.sampled_from(
            [
                (["convert", "01", f"made-{word}.ipynb"], f"made-{word}.ipynb is ready"),
                (["convert", "ACE", f"made/{word}.ipynb"], f"made/{word}.ipynb is ready"),
                (["store", "--verify"], "0 entries are damaged"),
                (["status"], "01 ace  never run"),
            ]
            if right
            else [
                (["run", "01", "-p", f"eps={text}"], "eps = "),
                (["run", word], f"{word} is not a chapter of this book"),
                (["run", "01", "-p", f"data={word}"], f"{word} is neither a data set nor a folder"),
                (["run", "01", "-p", f"{word}=1"], f"{word!r} is not a parameter" if "-" in word else word),
                (["judge", word], f"No record is at {word}"),
                (["compare", word, "x"], f"No record is at {word}"),
                (["adopt", f"{word}.ipynb"], f"{word}.ipynb cannot be read"),
                (["convert", "01", f"{word}.md"], f"{word}.md is no place for a notebook"),
                ([*ATTACK, draw(st.sampled_from(["x", "1/2/3", "0,3", "1e400", "nan", ""]))], "eps = "),
                ([*ATTACK, "1", "--device", device], f"device = {device!r}"),
            ]
        )
    )


@generated("real")
@given(commands())
def test_a_real_command(book, case):
    right, arguments, said = case
    with tempfile.TemporaryDirectory() as store:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "CAUSALNB_STORE": store}
        command = [sys.executable, "-m", "causalnb", *arguments]
        done = subprocess.run(
            command, cwd=book(), env=environment, capture_output=True, text=True, check=False
        )
    COUNTED["real command", "value" if right else "sentence"] += 1
    told, silent = (done.stdout, done.stderr) if right else (done.stderr, done.stdout)
    assert (done.returncode, silent, len(told.splitlines())) == (0 if right else 1, "", 1), told
    assert told.startswith(said)


def test_how_many_were_asked(capsys):
    asked = Counter()
    for (door, _), n in COUNTED.items():
        asked[door] += n
    if asked.keys() != {*DOORS, "real command"}:
        pytest.skip("not all doors were asked")
    words = {word: sum(n for (_, one), n in COUNTED.items() if one == word) for word in ("value", "sentence")}
    with capsys.disabled():
        print(f" {dict(asked)}: {asked.total()} generated inputs, {words}, 0 tracebacks ", end="")
    assert asked == DOORS | {"real command": REAL} and asked.total() >= 200
    assert all(COUNTED[door, word] for door in asked for word in words) and words["value"] >= 60
