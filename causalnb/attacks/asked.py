"""An attack as a command asks for it: texts in, checked before the work, and a report and its record out.

What is attacked and how is report.py's, where the record goes records.py's.
"""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from causalnb import UserError, data, models, record
from causalnb.attacks import records
from causalnb.attacks.report import budget, facts, report
from causalnb.attacks.suites import SUITES
from causalnb.store import Store


@dataclass(frozen=True)
class Asked:
    """What the command's options say, as they were typed; "" where one was left out.

    first     the first `n_images` of the set instead of a draw balanced over its classes
    classes   of a network that knows more classes: its output for each class of the set
    options   of the architecture, by name
    """

    model: Path
    architecture: str
    data: str
    eps: str
    norm: str
    suite: str
    n_images: int
    first: bool
    seed: int
    device: torch.device
    mean: str
    std: str
    classes: str
    options: dict[str, str]


def attack(asked: Asked, output: Path | None, *, tell: Callable[[str], None]) -> Path:
    """Attack, telling line after line; the path of the record. What can be refused is refused first, the
    cheap before the long.
    """
    one_of("suite", suite := asked.suite.lower(), SUITES)
    one_of("norm", norm := asked.norm.lower(), ("linf", "l2"))
    name, eps = data.named(asked.data), budget(asked.eps)
    scale = {key: numbers(key, text) for key in ("mean", "std") if (text := getattr(asked, key))}
    outputs = numbers("classes", asked.classes, int) if asked.classes else None
    models.require(asked.model, asked.architecture)
    images = data.load(name, "test")
    n = len(images.classes)
    if outputs and len(outputs) != n:
        raise UserError(
            f"classes = {asked.classes} is not possible: {images.name} has {n} classes "
            f"({', '.join(images.classes[:10])}), so give as many numbers."
        )
    _, channels, size, _ = images.images.shape
    shape: dict[str, Any] = {"classes": outputs or n, "channels": channels, "size": size, **scale}
    options = {key: literal(text) for key, text in asked.options.items()}
    net = models.load(asked.model, asked.architecture, **shape, **options)
    few = min(asked.n_images, len(images))
    some = images.take(slice(few)) if asked.first and few > 0 else data.draw(images, few, seed=asked.seed)
    what = {
        "model": str(asked.model),
        "model_digest": record.file_digest(asked.model),
        "architecture": asked.architecture,
        "data": name,
        "drawn": "the first" if asked.first else None,
        "classes": outputs,
        "options": asked.options or None,
        **scale,
    }
    given: dict[str, Any] = {"norm": norm, "eps": eps, "suite": suite, "seed": asked.seed, "what": what}
    path = records.place(output, facts(some, **given, device=asked.device))
    return report(net, some, store=Store(), tell=tell, **given, device=asked.device).write(path)


def one_of(what: str, value: str, known: Iterable[str]) -> None:
    """Refuse a word that is not among those known."""
    if value not in known:
        raise UserError(f"{what} = {value!r} is not possible: it is one of {', '.join(known)}.")


def numbers(name: str, text: str, kind: type[Any] = float) -> tuple[Any, ...]:
    """Numbers from text, separated by commas.

    >>> numbers("mean", "0.5, 0.25")
    (0.5, 0.25)
    """
    try:
        return tuple(map(kind, text.split(",")))
    except ValueError:
        example = "class, for example 0,217,482" if kind is int else "channel, for example 0.5,0.5,0.5"
        raise UserError(f"{name} = {text!r} is not possible: give one number per {example}.") from None


def literal(text: str) -> Any:
    """A Python value where the text is one, else the text.

    >>> literal("0.5"), literal("max")
    (0.5, 'max')
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
