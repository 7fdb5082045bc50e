"""The small parts of a page: how words and numbers are written, and where a number comes from.

The HTML of every component is a macro of components.html; this folder's modules prepare what the macros show.
"""

import ast
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from causalnb.console import plain_lines
from causalnb.ledger import SYMBOLS, WORDS, counts, printed_cells
from causalnb.record import Record
from causalnb.statistics import Estimate


@cache
def environment() -> Environment:
    """Where macros are read: they see the six verdicts, and as filters the functions that each module here
    hands in at its end.
    """
    made = Environment(autoescape=True, undefined=StrictUndefined)
    made.globals |= {"SYMBOLS": SYMBOLS, "WORDS": WORDS, "counts": counts, "printed_cells": printed_cells}
    return made


@cache
def _macros() -> Any:
    lines = (files("causalnb.fragments") / "components.html").read_text(encoding="utf-8").splitlines()
    return environment().from_string("".join(map(str.strip, lines))).module


def component(name: str) -> Callable[..., str]:
    """The macro of that name as a function to HTML, in which control characters of texts are written out; its
    arguments stand in components.html.
    """
    return lambda *given, **named: Markup(plain_lines(getattr(_macros(), name)(*given, **named)))


td, tr, head, table = map(component, ("td", "tr", "head", "table"))


def attributes(given: Mapping[str, object]) -> str:
    """Attributes as they stand in a tag: `css` is the class, and one left at "" or None is left out."""
    named = {
        "class" if key == "css" else key.replace("_", "-"): value
        for key, value in given.items()
        if value not in ("", None)
    }
    return Markup().join(Markup(' {}="{}"').format(*pair) for pair in named.items())


def text(source: str) -> str:
    """Escaped, with `code` between backticks."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(source))))


def slug(word: str) -> str:
    """A word as it stands in attributes: not-reproduced."""
    return re.sub(r"\W+", "-", word.lower())


def message(caption: str) -> str:
    """A caption with its first sentence in bold."""
    first = re.match(r".*?[.?!](?=\s|$)", caption)
    return (
        Markup("<b>{}</b>{}").format(text(first[0]), text(caption[first.end() :])) if first else text(caption)
    )


# Numbers --------------------------------------------------------------------------------------------------


def pretty(shown: str) -> str:
    """A formatted number with a real minus sign, and powers of ten written out.

    >>> print(pretty("-0.21"), pretty("3e-16"), pretty("1e-12"))
    −0.21 3 × 10<sup>−16</sup> 10<sup>−12</sup>
    """
    powers = re.sub(
        r"(\d(?:\.\d+)?)e([+-]?)0*(\d+)",
        lambda m: f"{m[1]} × 10<sup>{m[2].strip('+')}{m[3]}</sup>",
        str(escape(shown)),
    )
    return Markup(re.sub(r"-(?=[\d.])", "−", re.sub(r"(?<![\d.])1 × 10<sup>", "10<sup>", powers)))


def value(x: float, decimals: int | None = None) -> str:
    """A number with the decimals of what it stands beside, else with three digits.

    >>> print(value(0.66449, 3), value(-0.00004, 3), value(1234.5), value(0.66449))
    0.664 0.000 1234 0.664
    """
    digits = ".0f" if 1000 <= abs(x) < 1e6 else "#.3g" if 1e-3 <= abs(x) < 1000 or not x else ".2g"
    return pretty(f"{x:z.{decimals}f}" if decimals is not None else f"{x:{digits}}".rstrip("."))


def ends(low: float, high: float, decimals: int | None = None) -> str:
    """An interval for a narrow cell: ".730, .773"."""
    return Markup(re.sub(r"(?<![\d.])0(?=\.\d)", "", f"{value(low, decimals)}, {value(high, decimals)}"))


def duration(seconds: float) -> str:
    """Hours, minutes, seconds: "41 min 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60:02} min"
        if minutes >= 60
        else f"{minutes} min {rest:02} s"
        if minutes
        else f"{rest} s"
    )


def took(record: Record) -> str:
    """How long a run took, and how long the work that it found in the store had taken before."""
    before = sum(use.seconds for use in record.store if not use.made)
    return duration(record.seconds) + (f", after {duration(before)} kept in the store" if before >= 1 else "")


# Where a number comes from --------------------------------------------------------------------------------


def device(record: Record) -> str:
    """What it ran on: the accelerator's name, or the device and its threads."""
    return escape(
        record.environment.get("accelerator")
        or f"{record.device.upper()}, {record.threads} thread{'s' * (record.threads > 1)}"
    )


def run_facts(record: Record | None) -> dict[str, str]:
    """When, at what size and on what a record was made."""
    day = record and date.fromisoformat(record.finished[:10])
    return (
        {"run": f"{day.day} {day:%B %Y}", "profile": record.profile, "device": device(record)}
        if record and day
        else {}
    )


def sample(estimates: Sequence[Estimate]) -> dict[str, str]:
    """The sample sizes, seeds and p of one estimate or of many."""
    sizes, seeds = (
        sorted({e.n for e in estimates if e.n}),
        sorted({seed for e in estimates for seed in e.seeds}),
    )
    p = value(estimates[0].p) if len(estimates) == 1 and estimates[0].p is not None else ""
    return {"n": spread([str(n) for n in sizes]), "seeds": ", ".join(map(str, seeds)), "p": p}


def spread(ascending: Sequence[str]) -> str:
    """The first and the last of many, "20 to 100", or the one there is."""
    return " to ".join(dict.fromkeys([*ascending[:1], *ascending[-1:]]))


def again(record: Record) -> str:
    """The command that makes a run again, quoted for the shell; each value is read back as it was."""
    given = [part for name, value in record.changed.items() for part in ("-p", f"{name}={_literal(value)}")]
    return shlex.join(["causalnb", "run", record.chapter, "--profile", record.profile, *given])


def _literal(value: Any) -> str:
    """A value as -p takes it: a text bare where it is no Python literal and can be seen whole."""
    if not isinstance(value, str):
        return repr(value)
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value if value.isprintable() else ascii(value)
    return ascii(value)


def note(id: str, record: Record, key: str, said: str = "") -> str:
    """What a measured number is (as `said`, else as its record says, else its id) and where it comes from:
    interval, sample, seeds, device, date, and the command that makes it again.
    """
    one = record.measurements[id]
    pairs = {
        "ours": component("with_interval")(one.estimate),
        **sample([one.estimate]),
        "data": one.data,
        "measured as": text(f"`{id}`"),
    }
    return component("popover")(key, text(said or one.what or f"`{id}`"), pairs, record)


environment().filters |= {
    each.__name__: each for each in (attributes, text, slug, message, pretty, value, duration, took, again)
}
environment().globals |= {"run_facts": run_facts}
