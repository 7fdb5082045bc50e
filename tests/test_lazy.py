import ast
import sys
from importlib import import_module
from pathlib import Path

import pytest

import causalnb
from causalnb import data, lazy, store
from causalnb.data import sets

ROOT = Path(causalnb.__file__).parent
PACKAGES = sorted(
    ".".join(file.parent.relative_to(ROOT.parent).parts)
    for file in ROOT.rglob("__init__.py")
    if "lazy.names" in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_lazy_package_gives_each_of_its_names_and_none_is_also_a_module_s(name):
    package = import_module(name)
    given = lazy._origins(Path(package.__file__))
    assert set(package.__all__) == set(given) <= set(dir(package))
    assert given.keys() & {file.stem for file in Path(package.__file__).parent.iterdir()} == set()
    for one, (module, original) in given.items():
        assert getattr(package, one) is getattr(import_module(module), original)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_lazy_package_imports_nothing_of_its_own_before_it_is_asked(name):
    tree = ast.parse(Path(import_module(name).__file__).read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert names == ["TYPE_CHECKING", "lazy"]


def test_a_module_of_a_lazy_package_is_its_attribute_and_what_is_not_there_is_none():
    assert store.values is sys.modules["causalnb.store.values"]
    with pytest.raises(AttributeError, match="module 'causalnb.data' has no attribute 'nonsense'"):
        data.nonsense  # noqa: B018
    assert not hasattr(data, "_nonsense")


def test_what_replaces_a_name_in_its_module_is_seen_in_the_package(monkeypatch):
    monkeypatch.setattr(sets, "load", "another")
    assert data.load == "another"
