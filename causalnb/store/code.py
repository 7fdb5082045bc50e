"""What tells code from other code: which file or library it comes from, and a digest of its bytecode where it
has none.
"""

import dis
import hashlib
import json
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from causalnb import record
from causalnb.store import closure

LIBRARIES = {"torch", "torchvision", "foolbox", "eagerpy", "pyautoattack", "numpy", "scipy", "sklearn"}
# Members of a class that say nothing of what it does.
DESCRIPTIVE = {
    "__doc__",
    "__module__",
    "__dict__",
    "__weakref__",
    "__annotations__",
    "__qualname__",
    "__slots__",
}
DESCRIPTIVE |= {
    "__firstlineno__",
    "__static_attributes__",
    "__annotate__",
    "__annotations_cache__",
    "_abc_impl",
}
DESCRIPTIVE |= {"__abstractmethods__", "__dataclass_fields__", "__dataclass_params__", "__match_args__"}
DESCRIPTIVE |= {"__orig_bases__", "__parameters__", "__signature__", "__type_params__"}


def origin(module: str | None, name: str) -> list[str] | None:
    """What stands for a name of a module: of a library its version, of the package the digest of all that it
    runs.

    None for code that is neither, or that is made inside a function: that must be looked at itself. Libraries
    whose versions every key names have none here.
    """
    top = (module or "").split(".")[0]
    if "<" in name or top in ("", "__main__"):
        return None
    if top in LIBRARIES or top in sys.stdlib_module_names or top == "builtins":
        return [f"{module}.{name}"]
    if top == closure.PACKAGE and closure.path_of(module or "").is_file():
        return [f"{module}.{name}", closure.code_digest(module or "")]
    loaded = sys.modules.get(top)
    version, file = getattr(loaded, "__version__", None), getattr(loaded, "__file__", None) or ""
    return [f"{module}.{name}", str(version)] if version and "site-packages" in file else None


def is_package_function(value: Any) -> bool:
    """Whether a value is a function at the top of one of the package's own files."""
    if not isinstance(value, FunctionType) or value.__module__.split(".")[0] != closure.PACKAGE:
        return False
    return getattr(sys.modules.get(value.__module__), value.__qualname__, None) is value


def bytecode(code: CodeType, documentation: str | None = None) -> str:
    """A digest of what code does: not of its lines, the names of files, or its documentation."""
    constants = [
        bytecode(one) if isinstance(one, CodeType) else _constant(one)
        for one in code.co_consts
        if one is None or one != documentation
    ]
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return record.digest(json.dumps([code.co_code.hex(), constants, shape, names]))


def taken_globals(function: FunctionType) -> dict[str, Any]:
    """What a function, and the code inside it, takes from its module: name -> value."""
    held = function.__globals__
    return {name: held[name] for name in sorted(set(_global_names(function.__code__))) if name in held}


def captured(function: FunctionType) -> dict[str, Any]:
    """What a function closes over: name -> value; a variable that has none yet is left out."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def is_made_by_statement(kind: type) -> bool:
    """Whether a class was made by a class statement, so that its code can be seen."""
    return bool(kind.__flags__ & (1 << 9)) and kind.__module__ != "builtins"


def slots(kind: type) -> tuple[str, ...]:
    """The attributes that a class and its bases keep in slots."""
    found = (vars(base).get("__slots__", ()) for base in kind.__mro__)
    names = [name for some in found for name in ((some,) if isinstance(some, str) else some)]
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def sha(content: Any) -> str:
    """SHA-256 of bytes, 16 hex digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def _global_names(code: CodeType) -> Iterator[str]:
    yield from (
        one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    )
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _global_names(inner)


def _constant(value: Any) -> str:
    ordered = sorted(map(repr, value)) if isinstance(value, frozenset) else value
    return f"{type(value).__name__} {ordered!r}"
