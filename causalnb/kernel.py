"""What a notebook's kernel knows of its run: the cells so far, the parameters that they declare, and those
that were asked from outside. No result is computed here.
"""

import ast
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from causalnb import UserError
from causalnb.parameters import Parameters

INJECTED = "# Parameters"  # the first line of the cell that papermill writes
ASKED = "CAUSALNB_ASKED"  # what the runner passed, as JSON


def shell() -> Any:
    """IPython's shell where this runs in a Jupyter kernel, else None."""
    interactive = sys.modules.get("IPython")
    found = interactive.get_ipython() if interactive else None
    return found if hasattr(found, "kernel") else None


def cells(shell: Any) -> list[str]:
    """The code cells run so far, papermill's own left out."""
    return [cell for cell in _history(shell) if not _injected(cell)]


def declared(shell: Any, model: type[Parameters]) -> dict[str, Any]:
    """The values that the notebook's names have now: the model's parameters, and what was asked, or stands in
    the cell that lists them, by a name that nobody knows.
    """
    names = shell.user_ns
    wanted = [*model.model_fields, *sorted({*asked(shell), *_listed(shell)} - model.model_fields.keys())]
    return {name: names[name] for name in wanted if name in names}


def asked(shell: Any) -> dict[str, Any]:
    """What was asked from outside, by name: what the runner passed, and what papermill injected last."""
    found: dict[str, Any] = json.loads(os.environ.get(ASKED, "{}"))
    for cell in [cell for cell in _history(shell) if _injected(cell)][-1:]:
        found |= {name: value for name, value in _assigned(cell).items() if not name.startswith("PAPERMILL_")}
    return found


def require_used(asked: Mapping[str, Any], p: Parameters) -> None:
    """Refuse parameters `p` that are not what was asked; None asks for the profile's value."""
    for name, value in type(p).taken(asked).items():
        used = getattr(p, name, None)
        if value is not None and (used != value or isinstance(used, bool) != isinstance(value, bool)):
            raise UserError(
                f"{name} = {value!r} was asked, but the notebook would run with {used!r}: the tag "
                "`parameters` is missing on the cell that lists the parameters, or another cell sets "
                f"{name}; put the tag back (`:tags: [parameters]`), before the cell of begin, and let no "
                "other cell set it."
            )


def _listed(shell: Any) -> list[str]:
    """The names in the cell that lists the parameters, as it ran last."""
    for cell in reversed(cells(shell)):
        with suppress(SyntaxError):  # a magic
            typed = [one.target for one in ast.parse(cell).body if isinstance(one, ast.AnnAssign)]
            found = [target.id for target in typed if isinstance(target, ast.Name)]
            if "profile" in found:
                return found
    return []


def _injected(cell: str) -> bool:
    return cell.splitlines()[:1] == [INJECTED]


def _assigned(source: str) -> dict[str, Any]:
    """The plain assignments of a cell; a value that is no literal, as its text."""
    found: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            try:
                value = ast.literal_eval(statement.value)
            except ValueError:
                value = ast.unparse(statement.value)
            found |= {target.id: value for target in statement.targets if isinstance(target, ast.Name)}
    return found


def _history(shell: Any) -> list[str]:
    return list(shell.history_manager.input_hist_raw) if shell is not None else []
