"""Keys know what they cache: a maker's key holds the code of all package files that its work can run, and no others."""

import dis
import importlib
import sys
from functools import cache, partial
from pathlib import Path
from types import CodeType, ModuleType

import pytest
import torch
from torch import nn

import causalnb
from causalnb import attacks, record, training
from causalnb.attacks.adversarial import adversarial
from causalnb.chapters.ace import detector, experiments
from causalnb.chapters.ace.interventions import interventional_table
from causalnb.chapters.ace.vae import beta_vae, elbo_loss
from causalnb.data import Images
from causalnb.models import lenet
from causalnb.store import closure, key_digest, key_of
from causalnb.store.calls import _bound, _spread

ROOT = Path(causalnb.__file__).parent.parent
ENDS = {"record", "ledger", "fragments", "console", "files", "paths", "figstyle", "plots"}  # never count
UNLESS_CALLED = {"store", "processes", "statistics", "parameters"}


def images(n=6, channels=1, size=12):
    pixels = torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))
    return Images("noise", "train", pixels, torch.arange(n) % 3, ("a", "b", "c"), "digest")


def calls():
    """Calls that the book keeps: name -> (maker, arguments, keyword arguments)."""
    some, net = images(), lenet(classes=3, size=12).eval()
    few, labels = some.images, some.labels
    recipe = training.Recipe(epochs=1, batch=3)
    found = {}
    for name, norm, settings in (
        ("fgsm", "linf", {}),
        ("pgd", "linf", {"steps": 2, "step": 0.1}),
        ("cw", "l2", {"steps": 2, "binary_search_steps": 1, "step": 0.1, "initial_const": 1.0}),
        ("apgd-ce", "linf", {"steps": 2}),
        ("square", "linf", {"queries": 3, "rescale": True}),
        ("fab-t", "linf", {"steps": 2}),
        ("hsj", "linf", {"steps": 1}),
        ("noise", "linf", {"kind": "sign"}),
        ("stadv", "flow", {"steps": 2, "step": 0.1}),
        ("transfer", "linf", {"source": lenet(classes=3, size=12, seed=1).eval(), "steps": 2, "step": 0.1}),
    ):
        asked = {"norm": norm, "eps": 0.2, "seed": 0, **settings}
        found[name] = attacks.run, (name, net, few, net(few).argmax(1)), asked
    found["table"] = interventional_table, (net, few, torch.linspace(0, 1, 3)), {}
    asked = {"device": "cpu", "order": 0}
    found["taylor"] = experiments.taylor_at_mean, (net, some, torch.linspace(0, 1, 3)), asked
    table = interventional_table(net, few, torch.linspace(0, 1, 3))
    effects = detector.Effects("R1", net, table, few.mean(0))
    asked = {"weight": 1.0, "eps": 0.1, "step": 0.05, "steps": 2, "seed": 0}
    found["evade"] = detector.evade, (net, effects, few, labels), asked
    losses = {
        "plain": training.cross_entropy,
        "adversarial": adversarial(norm="linf", eps=0.1, step=0.1, steps=1),
    }
    for name, loss in losses.items():
        asked = {"stages": [(loss, recipe)], "data": some, "test": some, "device": "cpu"}
        found[f"{name} training"] = training.trained, (lenet(classes=3, size=12),), asked
    asked = {"stages": [(partial(elbo_loss, beta=2.0), recipe)], "data": some, "test": None, "device": "cpu"}
    found["vae"] = training.trained, (beta_vae(classes=3, size=12),), asked
    return found


CALLS = calls()
each_call = pytest.mark.parametrize("name", CALLS)


def counted(monkeypatch, name):
    """The package's modules whose code is in the key of a call."""
    make, args, asked = CALLS[name]
    seen, plain = set(), closure._digest
    monkeypatch.setattr(closure, "_digest", lambda modules: (seen.update(modules), plain(modules))[1])
    key_of(name, make, *args, **asked)
    return seen


def place(filename):
    file = Path(filename)
    if not file.is_relative_to(ROOT / "causalnb"):
        return None
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@each_call
def test_files_that_run_while_a_maker_works_are_in_its_key_and_in_a_record_s_sources(monkeypatch, name):
    make, args, asked = CALLS[name]
    known, ran = counted(monkeypatch, name), set()
    function, bound = _bound(make, args, asked)
    arguments = _spread(function, bound)
    sys.setprofile(lambda frame, event, _: ran.add(frame.f_code.co_filename) if event == "call" else None)
    try:
        function(**arguments)
    finally:
        sys.setprofile(None)
    modules = {found for file in ran if (found := place(file))}
    assert function.__module__ in modules
    assert {one for one in modules if one.split(".")[1] not in ENDS | UNLESS_CALLED} <= known
    for one in known:  # what is lazy was perhaps not needed here
        importlib.import_module(one)
    assert known <= {place(ROOT / file) for file in record.computing_sources()}


# An import graph made in another way: from the bytecode of modules as they are loaded, and from the objects in them -------


def codes(code):
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from codes(inner)


@cache
def compiled(module):
    file = importlib.import_module(module).__file__
    return tuple(codes(compile(Path(file).read_text(encoding="utf-8"), file, "exec")))


@cache
def imports(module):
    """(module, name, alias) of each import; the name is None where a module itself is bound."""
    found = []
    for code in compiled(module):
        source = None
        for one in dis.get_instructions(code):
            if one.opname == "IMPORT_NAME":
                source = one.argval
            elif one.opname == "IMPORT_FROM":
                name = one.argval
            elif one.opname.startswith("STORE_") and source and source.split(".")[0] == "causalnb":
                if (source, name, one.argval) not in found and name:
                    found.append((source, name, one.argval))
                name = None
            if one.opname == "POP_TOP":
                source = name = None
    return found


def definer(module, name):
    """The module that defines what `from module import name` gives."""
    value = getattr(importlib.import_module(module), name, None)
    try:
        return importlib.import_module(f"{module}.{name}")
    except ImportError:
        pass
    if isinstance(value, ModuleType):
        return value
    home = getattr(value, "__module__", None) if hasattr(value, "__qualname__") else None
    if home and home.startswith("causalnb") and getattr(sys.modules[home], name, None) is value:
        return home
    again = [one for one in imports(module) if one[2] == name]
    return definer(*again[0][:2]) if again else module


def attributes(module, alias):
    """What a module takes from a name that it imported."""
    for code in compiled(module):
        asked = False
        for one in dis.get_instructions(code):
            if asked and one.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                yield one.argval
            asked = (
                one.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF") and one.argval == alias
            )


def neighbours(module):
    for source, name, alias in imports(module):
        if not hasattr(sys.modules[module], alias) and alias not in str(compiled(module)):
            continue
        target = definer(source, name)
        if isinstance(target, ModuleType) and Path(target.__file__).name == "__init__.py":
            for attribute in attributes(module, alias):
                inner = definer(target.__name__, attribute)
                yield inner.__name__ if isinstance(inner, ModuleType) else inner
        else:
            yield target.__name__ if isinstance(target, ModuleType) else target


def reached(module):
    found, left = {module}, [module]
    while left:
        for one in neighbours(left.pop()):
            if one != "causalnb" and one not in found and one.split(".")[1] not in ENDS | UNLESS_CALLED:
                found.add(one)
                left.append(one)
    return found


MODULES = sorted(
    found
    for file in (ROOT / "causalnb").rglob("*.py")
    if (found := place(str(file))) and found != "causalnb" and found.count(".") and "__main__" not in found
)


@each_call
def test_a_changed_file_moves_exactly_the_keys_that_an_independent_import_graph_names(monkeypatch, name):
    make, args, asked = CALLS[name]
    function = make
    arguments = [function.__module__, *counted_types(args, asked)]
    expected = set().union(*(reached(one) for one in arguments))
    assert counted(monkeypatch, name) == expected


def counted_types(args, asked):
    """The package's modules of the functions and classes among a call's arguments."""
    left, found = [*args, *asked.values()], set()
    while left:
        one = left.pop()
        kind = one if hasattr(one, "__qualname__") else type(one)
        if kind.__module__.startswith("causalnb."):
            found.add(kind.__module__)
        if isinstance(one, list | tuple):
            left += one
        elif isinstance(one, nn.Module):
            left += [*one._modules.values(), *(v for k, v in vars(one).items() if not k.startswith("_"))]
        elif hasattr(one, "__closure__") and one.__closure__ and "<locals>" not in one.__qualname__:
            found |= {value.__module__ for value in one.__globals__.values() if ours(value, one)}
        elif type(one) is detector.Effects:
            left += vars(one).values()
    return found - {"causalnb.data.images"}  # images are known by what they hold


def ours(value, function):
    """A function or class of the package that a function's code takes from its module."""
    names = {name for code in codes(function.__code__) for name in code.co_names}
    held = {id(function.__globals__[name]) for name in names if name in function.__globals__}
    return getattr(value, "__module__", "").startswith("causalnb") and id(value) in held


@pytest.mark.parametrize("module", ["causalnb.attacks.ball", "causalnb.models.lenet5", "causalnb.data.sets"])
def test_a_changed_statement_moves_the_keys_of_those_who_run_it_and_no_others(monkeypatch, module):
    plain, other = record.code_digest, closure.path_of(module)
    before = {
        name: key_digest(key_of(name, make, *args, **asked)) for name, (make, args, asked) in CALLS.items()
    }
    running = {name for name in CALLS if module in counted(monkeypatch, name)}
    monkeypatch.setattr(record, "code_digest", lambda path: "changed" if path == other else plain(path))
    after = {
        name: key_digest(key_of(name, make, *args, **asked)) for name, (make, args, asked) in CALLS.items()
    }
    assert {name for name in CALLS if before[name] != after[name]} == running
    assert running or module == "causalnb.data.sets"


def test_documentation_comments_and_layout_are_not_code_and_a_constant_is(tmp_path):
    texts = (
        '"""Says."""\ndef f(x):\n    """Twice."""\n    return 2 * x\n',
        '"""Says more."""\n\n\ndef f(\n    x,\n):\n    # twice\n    return 2 * x\n',
        "def f(x):\n    return 2 * x\n",
        '"""Says."""\ndef f(x):\n    """Twice."""\n    return 3 * x\n',
    )
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.py").write_text(text)
    digests = [record.code_digest(tmp_path / f"{number}.py") for number in range(4)]
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_a_leaf_that_the_maker_itself_calls_counts():
    from causalnb.chapters.ace import measurements

    called = closure._called_leaves(measurements.rows)
    assert called == ("causalnb.statistics",)
    assert "causalnb.statistics" not in closure.closure("causalnb.chapters.ace.measurements")


def test_what_is_imported_for_type_checking_alone_does_not_count_and_what_a_function_imports_does(
    monkeypatch, tmp_path
):
    package = tmp_path / "causalnb"
    (package / "attacks").mkdir(parents=True)
    (package / "models").mkdir()
    files = {
        "attacks/__init__.py": "from causalnb.attacks.one import first\nfrom causalnb.attacks.two import second\n",
        "attacks/one.py": "def first(): ...\n",
        "attacks/two.py": "def second(): ...\n",
        "models/__init__.py": "if TYPE_CHECKING:\n    from causalnb.models.net import build, load\nelse:\n    lazy()\n",
        "models/net.py": "def build(): ...\n",
        "early.py": "from causalnb import models\ndef make():\n    return models.build()\n",
        "taken.py": "from causalnb.models import build\n",
        "typed.py": "X = 1\n",
        "late.py": "Y = 1\n",
        "maker.py": (
            "from typing import TYPE_CHECKING\nfrom causalnb import attacks\nfrom causalnb.attacks import second as s\n"
            "if TYPE_CHECKING:\n    from causalnb.typed import X\n"
            "def make():\n    from causalnb.late import Y\n    return attacks.first(), Y\n"
        ),
        "other.py": "from causalnb import attacks\ndef make():\n    return attacks.first()\n",
        "whole.py": "from causalnb import attacks\ndef make(f):\n    return f(attacks)\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    for cached in (closure._imported, closure._imports, closure._tree):
        cached.cache_clear()
    monkeypatch.setattr(closure, "ROOT", tmp_path)
    one, two = "causalnb.attacks.one", "causalnb.attacks.two"
    assert closure.closure("causalnb.maker") == ("causalnb.maker", one, two, "causalnb.late")
    assert closure.closure("causalnb.other") == ("causalnb.other", one)
    assert closure.closure("causalnb.early") == ("causalnb.early", "causalnb.models.net")
    assert closure.closure("causalnb.taken") == ("causalnb.taken", "causalnb.models.net")
    assert closure.closure("causalnb.whole") == ("causalnb.whole", one, two)
    for cached in (closure._imported, closure._imports, closure._tree):
        cached.cache_clear()
