"""What a record's fields may hold, and what its file may: one from elsewhere is refused before any of it is
shown, judged or copied into a command.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import from_json

LARGEST = 2**63

Whole = Annotated[int, Field(ge=-LARGEST, lt=LARGEST)]
Count = Annotated[int, Field(ge=0, lt=LARGEST)]
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^\w+$")]
Device = Annotated[str, Field(pattern=r"^\w+(:\d+)?$")]
Source = Annotated[str, Field(pattern=r"^(notebook|causalnb(/\w+)+\.py)$")]


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _value(given: Any) -> Any:
    """A plain value, or several in a tuple."""
    several = given if isinstance(given, list | tuple) else (given,)
    for one in several:
        if type(one) is str:
            one.encode()
        elif not (type(one) in (bool, type(None)) or type(one) in (int, float) and abs(one) < LARGEST):
            raise ValueError("a value is a number below 2^63, true, false, none, a text, or several of these")
    return tuple(given) if isinstance(given, list) else given


def _environment(given: dict[str, Any]) -> dict[str, Any]:
    """Versions by the names of libraries; every other fact is a text."""
    versions = given.get("versions", {})
    texts = [fact for name, fact in given.items() if name != "versions"]
    if not isinstance(versions, dict) or not all(isinstance(x, str) for x in [*versions.values(), *texts]):
        raise ValueError("versions are texts by name, and every other fact is a text")
    return given


Value = Annotated[Any, AfterValidator(_value)]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d"), AfterValidator(_moment)]
Environment = Annotated[dict[str, Any], AfterValidator(_environment)]


def plain_json(content: bytes) -> Any:
    """JSON without NaN, half characters, or nesting that no record has; a ValueError for the rest."""
    return from_json(content, allow_inf_nan=False)


def fault(error: Exception) -> str:
    """What is wrong with a file, in a few words: where, and what should stand there."""
    if not isinstance(error, ValidationError):
        return f"{error} is missing" if isinstance(error, KeyError) else str(error).partition("\n")[0]
    first = error.errors(include_url=False, include_input=False)[0]
    parts = [str(part)[:80] for part in first["loc"]]
    where = ".".join(part if part.isprintable() else ascii(part) for part in parts)
    return f"{where}: {first['msg']}" if where else first["msg"]
