"""Which files of the package can change what a function gives back: its file and all that it imports, found
statically.

`from package import x` leads to the file that defines x, through any `__init__` that only hands it on.
Imports inside functions count; those for type checking do not, but in an `__init__`, which hands them on
(see `lazy`). Files that cannot change a number end the walk.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType

import causalnb
from causalnb import record

ROOT = Path(causalnb.__file__).parent.parent
PACKAGE = causalnb.__name__
UNCOUNTED = {"store", "statistics", "parameters"}  # unless the maker itself calls them
LEAVES = record.NOT_COMPUTING | UNCOUNTED


@dataclass(frozen=True)
class _Import:
    """A name that a file binds by an import: the module, and what is taken from it ("" for the module
    itself).
    """

    alias: str
    module: str
    name: str


def closure(module: str) -> tuple[str, ...]:
    """The modules of the package that code in `module` can run, itself first, the others in order.

    >>> closure("causalnb.models.lenet5")
    ('causalnb.models.lenet5',)
    """
    found, left = [module], [module]
    while left:
        for one in _imported(left.pop()):
            if one not in found and not is_leaf(one):
                found.append(one)
                left.append(one)
    return (module, *sorted(found[1:]))


def code_digest(module: str) -> str:
    """Of all files in the closure of a module, as they stand: their code without docstrings, comments and
    layout.
    """
    return _digest(closure(module))


def maker_digest(function: FunctionType) -> str:
    """Like `code_digest` of the function's module; leaves that the function itself calls count too."""
    return _digest((*closure(function.__module__), *_called_leaves(function)))


def is_leaf(module: str) -> bool:
    """Whether a module ends the walk: it cannot change a number, or what it computes is not kept."""
    parts = module.split(".")
    return parts[1] in LEAVES if len(parts) > 1 else True


def path_of(module: str) -> Path:
    """The file of a module or package of ours; it may not exist."""
    stem = ROOT / module.replace(".", "/")
    return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")


def _digest(modules: tuple[str, ...]) -> str:
    return record.digest("".join(f"{module} {record.code_digest(path_of(module))}\n" for module in modules))


def _called_leaves(function: FunctionType) -> tuple[str, ...]:
    tree, own = _tree(function.__module__), function.__name__
    body = next(
        (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == own), tree
    )
    used = {node.id for node in ast.walk(body) if isinstance(node, ast.Name)}
    leads = (_lead(one, tree) for one in _imports(function.__module__) if one.alias in used)
    return tuple(
        sorted({module for found in leads for module in found if module != PACKAGE and is_leaf(module)})
    )


@cache
def _imported(module: str) -> tuple[str, ...]:
    """Modules of ours that a module's code uses by its imports."""
    tree = _tree(module)
    found = {target for one in _imports(module) for target in _lead(one, tree)}
    return tuple(sorted(found - {module, PACKAGE}))


def _lead(one: _Import, tree: ast.Module) -> Iterator[str]:
    """The modules that an import leads to, in a file with this tree."""
    target, name = _resolved(one.module, one.name) if one.name else (one.module, "")
    if name or path_of(target).name != "__init__.py":
        yield target
        return
    attributes, bare = _uses(tree, one.alias)
    for attribute in _exports(target) if bare else sorted(attributes):
        yield _resolved(target, attribute)[0]


def _resolved(module: str, name: str) -> tuple[str, str]:
    """Where `from module import name` ends: (module, "") for a module, else (the module that defines it, its
    name).
    """
    if path_of(f"{module}.{name}").is_file():
        return f"{module}.{name}", ""
    if path_of(module).name == "__init__.py":
        for one in _imports(module):
            if one.alias == name:
                return _resolved(one.module, one.name) if one.name else (one.module, "")
    return module, name


def _uses(tree: ast.Module, alias: str) -> tuple[set[str], bool]:
    """Attributes that a file takes from a name, and whether it also uses the name alone."""
    bases = {id(node.value): node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == alias]
    return {bases[id(node)] for node in names if id(node) in bases}, any(
        id(node) not in bases for node in names
    )


def _exports(package: str) -> list[str]:
    return sorted(one.alias for one in _imports(package))


@cache
def _imports(module: str) -> tuple[_Import, ...]:
    return tuple(_bound(_tree(module), typed=path_of(module).name == "__init__.py"))


def _bound(tree: ast.AST, *, typed: bool) -> Iterator[_Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not typed:
            continue
        if isinstance(node, ast.Import):
            ours = (alias for alias in node.names if alias.name.split(".")[0] == PACKAGE)
            yield from (_Import(alias.asname or alias.name, alias.name, "") for alias in ours)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            yield from (
                _Import(alias.asname or alias.name, node.module or "", alias.name) for alias in node.names
            )
        else:
            yield from _bound(node, typed=typed)


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text(encoding="utf-8"))
