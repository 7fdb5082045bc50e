"""The page of functions: signatures and docstrings cut from the source as written, without importing it."""

import ast
from pathlib import Path

Definition = ast.FunctionDef | ast.ClassDef


def markdown(root: Path, modules: tuple[str, ...]) -> str:
    """One heading a module, its first docstring, then each public function and class as code.

    root      the folder that holds the package
    modules   dotted names; a package's names are those that its __init__ takes from its own modules
    """
    return "\n".join(_module(root, name) for name in modules)


def _module(root: Path, name: str) -> str:
    tree, _ = _parse(root, name)
    summary = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    blocks = [
        f"### {found.name}\n\n```{{code-block}} python\n:class: cn-wrap\n\n{_outline(found, lines)}\n```\n"
        for found, lines in _public(root, name)
    ]
    return f"## {name}\n\n{summary}\n\n" + "\n".join(blocks)


def _parse(root: Path, name: str) -> tuple[ast.Module, list[str]]:
    stem = root / name.replace(".", "/")
    source = (stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")).read_text(encoding="utf-8")
    return ast.parse(source), source.splitlines()


def _public(root: Path, name: str) -> list[tuple[Definition, list[str]]]:
    tree, lines = _parse(root, name)
    found = [
        (node, lines) for node in tree.body if isinstance(node, Definition) and not node.name.startswith("_")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(name + "."):
            taken = {alias.name for alias in node.names}
            found += [(one, text) for one, text in _public(root, node.module or "") if one.name in taken]
    return found


def _outline(node: Definition, lines: list[str]) -> str:
    """The source of a definition down to its docstring; of a class also its fields and its public methods'
    outlines.
    """
    first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
    documented = ast.get_docstring(node) is not None
    last = (node.body[0].end_lineno or 0) if documented else node.body[0].lineno - 1
    parts = ["\n".join(lines[first - 1 : last])]
    if isinstance(node, ast.ClassDef):
        parts += [
            "\n".join(lines[one.lineno - 1 : one.end_lineno])
            for one in node.body
            if isinstance(one, ast.AnnAssign)
            and isinstance(one.target, ast.Name)
            and not one.target.id.startswith("_")
        ]
        parts += [
            "\n" + _outline(one, lines)
            for one in node.body
            if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")
        ]
    return "\n".join(parts)
