"""Two hundred generated inputs, each with its right outcome: the value, or one sentence. Ten go through a real
command; none ends in a traceback. How many were asked is told.
"""

import json
import os
import subprocess
import sys
import tempfile
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
COUNTED = {"value": 0, "sentence": 0}
SPACE = st.sampled_from(["", " ", "  "])


def generated(n):
    return settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def outcome(ask, expected=None):
    """What `ask` gives, counted; a refusal must be one sentence, and expected where `expected` is UserError."""
    try:
        found = ask()
    except (UserError, ValueError) as error:
        COUNTED["sentence"] += 1
        text = str(error)
        assert expected is UserError and text.strip() and len(text) < 1000, text
        assert len(text.splitlines()) == (3 if "torch's pickle" in text else 1), text
        return text
    COUNTED["value"] += 1
    assert expected is not UserError, found
    return found


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


@generated(60)
@given(numbers())
def test_a_parameter_from_the_command_line(case):
    text, value = case
    if text == "٣":  # a digit that Python reads: 3, which is too large
        value = None
    p = outcome(
        lambda: Parameters.resolve(typed.values([f"eps={text}"], None)), UserError if value is None else None
    )
    assert value is None or p.eps == value


@generated(15)
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
    done = outcome(lambda: runner.run(runner.chapter("ace"), {name: value}), None if right else UserError)
    assert not right or done.record.parameters[name] == getattr(Parameters.resolve({name: value}), name)


IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
NET = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
LABELS = NET(IMAGES).argmax(dim=1)


@generated(45)
@given(
    st.sampled_from(
        [0.1, np.float32(0.1), Fraction(1, 10), np.array(0.1), 1e400, 10**400, -1, "x", None, float("nan")]
    ),
    st.sampled_from([0, np.int64(3), Fraction(4), 10**31, -1, 1.5, "3"]),
    st.sampled_from(
        ["tensor", "array", "list", "double", "half", "bytes", "ragged", "dark", "few labels", "nan labels"]
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
        lambda: evaluate(
            model.to(dtype), given_images, labels, norm="linf", eps=eps, suite=[Step("fgsm", {})], seed=seed
        ),
        None if right else UserError,
    )
    if right:
        asked = model(made.images.to(dtype)).argmax(dim=1)
        assert torch.equal(asked == LABELS, made.robust) and (made.images - IMAGES).abs().max() <= 0.1 + 1e-3


@generated(30)
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
            lambda: models.load(path, "LeNet", classes=3, channels=1, size=12), UserError if fault else None
        )
    images = torch.rand(2, 1, 12, 12)
    assert fault or torch.equal(net(images), expected.eval()(images))


@generated(20)
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
        halves = outcome(lambda: models.cut(asked, layer, images), None if right else UserError)
    if right:
        assert torch.equal(halves.tail(halves.head(IMAGES)), model(IMAGES))


@generated(20)
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
        some = outcome(lambda: data.load(root, "test"), None if right else UserError)
    if right:
        numeric = all(name.isdecimal() for name in classes)
        assert list(some.classes) == sorted(classes, key=int if numeric else str)
        assert some.labels.tolist() == list(range(len(classes)))


REAL = [
    (["run", "01", "-p", "eps=9/8"], "eps = 1.125 is not possible"),
    (["run", "nine"], "nine is not a chapter of this book"),
    (["run", "01", "-p", "seed=" + "1" * 31], "seed = 1111"),
    (["run", "01", "-p", "data=cifar10"], "data = 'cifar10' is not possible"),
    (["judge", "nowhere"], "No record is at nowhere"),
    (["compare", "nowhere", "x"], "No record is at nowhere"),
    (["adopt", "_toc.yml"], "_toc.yml is no notebook"),
    (["convert", "01", "x.md"], "x.md is no place for a notebook"),
    (
        ["attack", "--model", "x", "--architecture", "lenet", "--data", "digits", "--eps", "1e400"],
        "eps = '1e400'",
    ),
    (
        [
            "attack",
            "--model",
            "x",
            "--architecture",
            "lenet",
            "--data",
            "digits",
            "--eps",
            "1",
            "--device",
            "meta",
        ],
        "device = 'meta'",
    ),
]


@pytest.mark.parametrize("arguments, sentence", REAL)
def test_a_real_command(book, arguments, sentence):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "causalnb", *arguments]
    done = subprocess.run(command, cwd=book(), env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith(sentence)
    COUNTED["sentence"] += 1


def test_how_many_were_asked(capsys):
    asked = sum(COUNTED.values())
    with capsys.disabled():
        print(f" {json.dumps(COUNTED)} of {asked} generated inputs, 0 tracebacks ", end="")
    assert asked == 0 or min(COUNTED.values()) > 30  # 0: this test runs alone
