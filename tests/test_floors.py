import ast
import io
import math
import tokenize
from itertools import pairwise
from pathlib import Path

import causalnb

ROOT = Path(causalnb.__file__).parent
FLOORS = {
    "__main__": 12,
    "cli": 11,
    "book": 10,
    "sweep": 9,
    "runner": 8,
    "notebook": 7,
    "chapters": 6,
    "attacks": 5,
    "training": 4,
    "detection": 4,
    "fragments": 4,
    "data": 3,
    "models": 3,
    "ledger": 3,
    "texts": 3,
    "store": 2,
    "kernel": 1,
    "plots": 1,
    "places": 2,
    "record": 1,
    "processes": 1,
    "trainings": 1,
    "statistics": 0,
    "parameters": 0,
    "figstyle": 0,
    "console": 0,
    "files": 0,
    "kinds": 0,
    "lazy": 0,
    "paths": 0,
    "randomness": 0,
    "usage": 0,
    "vision": 0,
}
LIMIT = 6680


def module_of(file):
    return file.relative_to(ROOT).with_suffix("").parts[0]


def imported(file):
    """The package's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (
            name.split(".")[1]
            for name in names
            if name.startswith("causalnb.") and name.split(".")[1] in FLOORS
        )


def test_every_module_has_a_floor():
    modules = {module_of(file) for file in ROOT.rglob("*.py")} - {"__init__"}
    assert modules == set(FLOORS)


def test_imports_only_point_down_the_floors():
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in ROOT.rglob("*.py")
        if (here := module_of(file)) in FLOORS
        for name in imported(file)
        if name != here and FLOORS[name] >= FLOORS[here]
    ]
    assert wrong == []


def test_one_chapter_does_not_import_another():
    for file in (ROOT / "chapters").rglob("*.py"):
        own = file.relative_to(ROOT / "chapters").parts[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("causalnb.chapters."):
                assert node.module.split(".")[2] == own, file


def code_lines(file):
    """Lines that the code takes at 110 columns, however it is laid out: no blank lines, comments or docstrings."""
    source = file.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines, statement = 0, []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE and statement:
            width = statement[0].start[1] + sum(len(one.string) for one in statement)
            width += sum(a.end != b.start for a, b in pairwise(statement))  # the blanks between
            lines += math.ceil(width / 110)
            statement = []
        elif token.string.strip() and token.type != tokenize.COMMENT and token.start[0] not in documented:
            statement.append(token)
    return lines


def test_the_package_outside_chapters_attacks_and_models_stays_thin(capsys):
    lines = sum(
        code_lines(file)
        for file in ROOT.rglob("*.py")
        if module_of(file) not in ("chapters", "attacks", "models")
    )
    with capsys.disabled():
        print(f" {lines} lines of code outside chapters, attacks and models ", end="")
    assert lines <= LIMIT


def test_no_file_is_longer_than_400_lines():
    assert [
        str(file) for file in ROOT.rglob("*.py") if len(file.read_text(encoding="utf-8").splitlines()) > 400
    ] == []
