"""Names that a package hands on from its modules, each imported when it is used (PEP 562)."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: what its file imports, all below `if TYPE_CHECKING:`, and its
    modules.

    No value is kept in the package, so what replaces one in its module is seen here too. A name that is also
    a module's would be either, by who came first: there must be none.
    """
    origins = _origins(Path(str(sys.modules[package].__file__)))

    def get(name: str) -> Any:
        if name in origins:
            module, original = origins[name]
            return getattr(import_module(module), original)
        if name.startswith("_") or find_spec(f"{package}.{name}") is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return get, lambda: sorted(vars(sys.modules[package]).keys() | origins)


def _origins(file: Path) -> dict[str, tuple[str, str]]:
    """Where each name comes from that a package's file imports from its own modules."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("causalnb.")
        for alias in node.names
    }
