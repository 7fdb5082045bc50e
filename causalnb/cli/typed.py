"""What is typed on a command line as the values that it means."""

import ast
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from causalnb import UserError


def pair(text: str, flag: str, example: str) -> tuple[str, str]:
    """NAME=VALUE as name and value."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{flag} {text} is not possible: give NAME=VALUE, for example {flag} {example}.")
    return name, value


def unquoted(text: str) -> str:
    """What a quoted Python text says, else the text itself: commands that the book shows quote what could
    not be seen whole.
    """
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        said = ast.literal_eval(text)
        return said if isinstance(said, str) else text
    return text


def values(pairs: Sequence[str], profile: str | None) -> dict[str, Any]:
    """NAME=VALUE pairs, the values as they were typed; the profile is quick unless one is asked for."""
    asked = [] if profile is None else [("profile", profile)]
    asked += [pair(text, "-p", "n_images=20") for text in pairs]
    found: dict[str, Any] = {}
    for name, typed in asked:
        value = unquoted(typed)
        if found.setdefault(name, value) != value:
            raise UserError(
                f"{name} = {found[name]!r} and {name} = {value!r} were both asked: give one of them."
            )
    if "data" in found:
        from causalnb import data

        found["data"] = data.listed(found["data"])
    return {"profile": "quick", **found}
