"""The small parts of a page: elements, numbers, a verdict's mark, bars and keys, commands, notes, figures."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

from causalnb import figstyle
from causalnb.ledger import SYMBOLS, WORDS
from causalnb.record import Record
from causalnb.statistics import Estimate

FRESHNESS = {"fresh": ("reproduced", "●"), "stale": ("undecided", "◌"), "never run": ("not run", "○")}


def tag(name: str, content: str = "", /, **given: object) -> str:
    """An element around HTML; attributes are escaped, `css` is the class, and one left at "" or None is left out.

    >>> tag("td", "0.5", css="l", data_v="")
    '<td class="l">0.5</td>'
    """
    named = [("class" if key == "css" else key.replace("_", "-"), value) for key, value in given.items() if value not in ("", None)]
    attributes = "".join(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"' for key, value in named)
    return f"<{name}{attributes}>{content}</{name}>"


def text(source: str) -> str:
    """Escaped, with `code` between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(source))


# A phone shows a table's rows as blocks, which changes their display; so the roles are written out.
td = partial(tag, "td", role="cell")
column = partial(tag, "th", role="columnheader", scope="col")
head = partial(tag, "th", role="rowheader", scope="row")


def tr(*cells: str, **given: object) -> str:
    """A table's row."""
    return tag("tr", "".join(cells), role="row", **given)


def table(css: str, caption: str, **groups: str) -> str:
    """A table from its thead, tbody, tfoot."""
    inside = "".join(tag(name, rows, role="rowgroup") for name, rows in groups.items() if rows)
    return tag("table", (tag("caption", caption) if caption else "") + inside, css=f"cn-t cn-phone {css}", role="table")


def listed(pairs: Mapping[str, str], css: str = "") -> str:
    """Names and their values (HTML); an empty one is left out."""
    return tag("dl", "".join(f"<div><dt>{name}</dt><dd>{shown}</dd></div>" for name, shown in pairs.items() if shown), css=css)


# Numbers ---------------------------------------------------------------------------------------------------------


def pretty(shown: str) -> str:
    """A formatted number (HTML) with a real minus sign, and powers of ten written out.

    >>> pretty("-0.21"), pretty("3e-16"), pretty("1e-12")
    ('−0.21', '3 × 10<sup>−16</sup>', '10<sup>−12</sup>')
    """
    powers = re.sub(r"(\d(?:\.\d+)?)e([+-]?)0*(\d+)", lambda m: f"{m[1]} × 10<sup>{m[2].strip('+')}{m[3]}</sup>", shown)
    return re.sub(r"-(?=[\d.])", "−", re.sub(r"(?<![\d.])1 × 10<sup>", "10<sup>", powers))


def value(x: float, decimals: int | None = None) -> str:
    """A number with the decimals of what it stands beside, else with three digits.

    >>> value(0.66449, 3), value(-0.00004, 3), value(1234.5), value(0.66449)
    ('0.664', '0.000', '1234', '0.664')
    """
    digits = ".0f" if 1000 <= abs(x) < 1e6 else "#.3g" if 1e-3 <= abs(x) < 1000 or not x else ".2g"
    return pretty(f"{x:z.{decimals}f}" if decimals is not None else f"{x:{digits}}".rstrip("."))


def ends(low: float, high: float, decimals: int | None = None) -> str:
    """An interval for a narrow cell: ".730, .773"."""
    return re.sub(r"(?<![\d.])0(?=\.\d)", "", f"{value(low, decimals)}, {value(high, decimals)}")


def number(shown: str, key: str, before: str = "") -> str:
    """A number in a sentence or a cell; pressed, it opens the note of that key. before: what a screen reader says first."""
    return tag("button", (unseen(before) if before else "") + pretty(shown), type="button", css="cn-num", popovertarget=key)


# Verdicts, bars, keys --------------------------------------------------------------------------------------------


def slug(word: str) -> str:
    """A word as it stands in attributes: not-reproduced."""
    return re.sub(r"\W+", "-", word.lower())


def symbol(word: str) -> str:
    """The sign of a verdict, which its word accompanies."""
    return tag("span", SYMBOLS[word], css="cn-s", aria_hidden="true")  # type: ignore[index]


def unseen(word: str) -> str:
    """Text for screen readers."""
    return tag("span", word, css="cn-sr")


def verdict(word: str) -> str:
    """Symbol and word."""
    return tag("span", f"{symbol(word)} {word}", css="cn-v", data_v=slug(word))


def state(now: Any) -> str:
    """Whether a run stands for the present source. now: .word ("fresh", "stale", "never run") and .because, names of files."""
    word, sign = FRESHNESS[now.word]
    because = html.escape(", ".join(now.because)).replace("/", "/<wbr>")
    return tag("span", f"{sign} {now.word}", css="cn-state", data_v=slug(word)) + (f" because of {because}" if because else "")


def bar(of: Mapping[str, int], what: str = "printed cells") -> str:
    """A segment for each verdict that occurs, over all there are."""
    told = f"{sum(of.values())} {what}: " + ", ".join(f"{n} {word}" for word, n in of.items() if n)
    return tag("div", "".join(tag("i", data_v=slug(word), style=f"--n:{n}") for word, n in of.items() if n), css="cn-bar", role="img", aria_label=told)


def key(of: Mapping[str, int] | None = None, *, short: bool = False) -> str:
    """All six verdicts in their order, with their counts, zeros included. short: the words for screen readers only."""
    items = [tag("li", f"{symbol(w)} {f'<b>{of[w]}</b> ' if of else ''}{unseen(w) if short else w}", data_v=slug(w)) for w in WORDS]
    return tag("ul", "".join(items) + (f"<li>of {sum(of.values())}</li>" if of and short else ""), css="cn-key")


# Commands, runs, notes -------------------------------------------------------------------------------------------


def command(code: str, label: str = "") -> str:
    """A line that one can type, with a button that copies it."""
    button = tag("button", "Copy", type="button", css="cn-copy", hidden=True)
    return tag("div", (tag("span", text(label)) if label else "") + tag("code", html.escape(code)) + button, css="cn-cmd")


def run_command(record: Record | None) -> str:
    """The command that makes a record again."""
    return command(f"causalnb run {record.chapter} --profile {record.profile}") if record else ""


def versions(record: Record) -> str:
    """What the run was made with."""
    return listed({name: html.escape(version) for name, version in record.environment["versions"].items()}, "cn-run")


def device(record: Record) -> str:
    """What it ran on: the accelerator's name, or the device and its threads."""
    threads = f"{record.threads} thread{'s' * (record.threads > 1)}"
    return html.escape(record.environment.get("accelerator") or f"{record.device.upper()}, {threads}")


def duration(seconds: float) -> str:
    """Hours, minutes, seconds: "41 min 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def run_facts(record: Record | None) -> dict[str, str]:
    """When, at what size and on what a record was made."""
    if record is None:
        return {}
    day = date.fromisoformat(record.finished[:10])
    return {"run": f"{day.day} {day:%B %Y}", "profile": html.escape(record.profile), "device": device(record)}


def notes(parts: Iterable[str], css: str = "") -> str:
    """The popovers of a page's numbers: unseen until opened, end notes on paper unless css is "cn-cells"."""
    return tag("div", "".join(parts), css=f"cn-notes {css}".strip())


def note(id: str, record: Record, key: str) -> str:
    """Where a measured number comes from: interval, sample, seeds, device, date, and the command that makes it again."""
    one = record.measurements[id]
    made = {"ours": with_interval(one.estimate), **sample([one.estimate]), "data": html.escape(one.data), "measured as": tag("code", html.escape(id))}
    return popover(key, text(one.what) or "A measured number", made, record)


def popover(key: str, title: str, pairs: Mapping[str, str], record: Record | None) -> str:
    """What opens beside a number: facts, the run, its command."""
    run = ", ".join([*run_facts(record).values(), *([f"commit {record.commit[:7]}"] if record and record.commit else [])])
    return tag("div", f"<p><strong>{title}</strong></p>{listed({**pairs, 'run': run})}{run_command(record)}", popover=True, css="cn-pop", id=key)


def with_interval(estimate: Estimate, scale: float = 1.0, decimals: int | None = None, unit: str = "") -> str:
    """A value with its interval, level and method."""
    if estimate.method == "logic":
        return "it holds" if estimate.value else "it does not hold"
    told = value(estimate.value * scale, decimals) + html.escape(unit or (estimate.unit and f" {estimate.unit}"))
    if estimate.low is not None and estimate.high is not None:
        told += f" [{value(estimate.low * scale, decimals)}, {value(estimate.high * scale, decimals)}], {100 * (estimate.level or 0):.4g} %"
    return f"{told}, {html.escape(estimate.method)}"


def sample(estimates: Sequence[Estimate]) -> dict[str, str]:
    """The sample sizes, seeds and p of one estimate or of many."""
    sizes, seeds = sorted({e.n for e in estimates if e.n}), sorted({seed for e in estimates for seed in e.seeds})
    p = value(estimates[0].p) if len(estimates) == 1 and estimates[0].p is not None else ""
    return {"n": spread([str(n) for n in sizes]), "seeds": ", ".join(map(str, seeds)), "p": p}


def spread(ascending: Sequence[str]) -> str:
    """The first and the last of many, "20 to 100", or the one there is."""
    return " to ".join(dict.fromkeys([*ascending[:1], *ascending[-1:]]))


# Figures ---------------------------------------------------------------------------------------------------------


def figure(source: str, caption: str, number: int | None = None, *, side: bool = False) -> str:
    """An SVG or image (HTML) with its caption, whose first sentence is the message. side: the caption stands beside it."""
    named = f"Figure {number}. " if number else ""
    return tag("figure", source + tag("figcaption", message(named + caption)), css="cn-fig" + " cn-side" * side)


def message(caption: str) -> str:
    """A caption with its first sentence in bold."""
    first = re.match(r"(?:Figure \d+\. )?.*?[.?!](?=\s|$)", caption)
    return tag("b", text(first[0])) + text(caption[first.end():]) if first else text(caption)


def scale(limit: float, unit: str = "") -> str:
    """The colours of signed maps, from -limit to +limit."""
    low, high = (tag("span", f"{sign}{limit:.3g} {html.escape(unit)}".strip()) for sign in "−+")
    colours = tag("i", role="img", aria_label="Colour scale from blue, negative, through white, zero, to orange, positive",
                  style=f"background:linear-gradient(90deg,{','.join(figstyle.EFFECT_STOPS)})")
    return tag("div", low + colours + high, css="cn-scale")
