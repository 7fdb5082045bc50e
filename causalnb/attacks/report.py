"""The report on a model of one's own: the sanity panel, a suite's table, and both as a JSON record."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import UserError, files, record
from causalnb.attacks import records
from causalnb.attacks.panel import PLANTED, Panel, sanity_panel
from causalnb.attacks.results import AttackResult
from causalnb.attacks.suites import Evaluation, correct, evaluate, renamed
from causalnb.data import Images
from causalnb.parameters import number
from causalnb.statistics import Estimate, proportion
from causalnb.store import Store

SCHEMA = 1
HEAD = f"{'attack':<24}{'attacked':>9}{'broken':>8}{'robust after':>14}"
HEAD += f"{'forward':>11}{'backward':>11}{'seconds':>9}"
PANEL = 40  # images: its rows look for failures that show on few


@dataclass(frozen=True)
class Report:
    """A model under attack: the threat model, the panel's rows, the suite's results, and where and when they
    were made.
    """

    what: dict[str, Any]
    panel: Panel
    evaluation: Evaluation

    def __str__(self) -> str:
        """The panel, the table and the flags for a terminal."""
        of = self.evaluation
        rows = (_row(result, rows, len(of.correct)) for result, rows in zip(of.results, of.rows, strict=True))
        return "\n".join(
            [_clean(of.accuracy(), len(of.correct)), "", str(self.panel), "", HEAD, *rows, *self.end()]
        )

    def end(self) -> list[str]:
        """What stands below the table: the robust accuracy, the flags, and what they mean for it."""
        of = self.evaluation
        worst = f"robust accuracy {said(of.robust_accuracy())}: the worst case of each image over the attacks"
        return ["", f"{worst} above", *(f"mind: {flag}" for flag in of.flags), *self._caution()]

    def _caution(self) -> list[str]:
        """What the failing rows and flags mean for the robust accuracy."""
        of, failed = self.evaluation, self.panel.failed
        if not failed and not of.flags:
            return []
        found = failed[0].value if [row.name for row in failed] == [PLANTED] else None
        if of.flags or not found:
            return [
                "A row above fails or is flagged: the number bounds robustness from above, and may be far "
                "above it."
            ]
        broken = proportion(int((of.correct & ~of.robust).sum()), len(of.correct))
        least = max(0.0, of.accuracy().value - (broken.high or 0.0) / found)
        return [
            f"PGD alone finds {found:.0%} of the planted examples. If this suite, which also searches in "
            "other ways, found no larger a share of the model's own, the robust accuracy would be "
            f"{100 * least:.1f} % or more, not {100 * of.robust_accuracy().value:.1f} %."
        ]

    def write(self, path: Path) -> Path:
        """The record as JSON. Refused, as a UserError: a path at which anything but an earlier record of the
        same attack stands.
        """
        of = self.evaluation
        rows = [
            {
                "attack": renamed(result),
                "settings": result.settings,
                "attacked": len(rows),
                "broken": int(result.found.sum()),
                "queries": result.queries,
                "seconds": round(result.seconds, 3),
                "flags": result.flags,
            }
            for result, rows in zip(of.results, of.rows, strict=True)
        ]
        content = {
            "schema_version": SCHEMA,
            **self.what,
            "panel": [asdict(row) for row in self.panel],
            "suite": of.suite,
            "attacks": rows,
            "clean": asdict(of.accuracy()),
            "robust": asdict(of.robust_accuracy()),
            "flags": of.flags,
            "verdicts": {"correct": of.correct.int().tolist(), "robust": of.robust.int().tolist()},
        }
        records.guard(path, content)
        return files.write(path, json.dumps(content, indent=1) + "\n")


def report(
    model: nn.Module,
    images: Images,
    *,
    norm: str,
    eps: float,
    suite: str,
    seed: int,
    device: torch.device,
    what: Mapping[str, Any],
    store: Store | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Attack a model with a suite, and the panel beside it.

    images   balanced draws of a data set, as `data.draw` gives them
    what     facts for the record: which model, which data
    tell     takes each line of the report as soon as it is known
    """
    model.to(device)
    clean, labels = images.images.to(device), images.labels.to(device)
    right = correct(model, clean, labels, seed=seed).correct
    tell(_clean(proportion(int(right.sum()), len(right)), len(right)))
    panel = sanity_panel(model, clean[:PANEL], labels[:PANEL], norm=norm, eps=eps, seed=seed)
    for line in ("", *str(panel).split("\n"), "", HEAD):
        tell(line)
    evaluation = evaluate(
        model,
        clean,
        labels,
        norm=norm,
        eps=eps,
        suite=suite,
        seed=seed,
        store=store,
        heard=lambda result, rows: tell(_row(result, rows, len(labels))),
    )
    asked = facts(images, norm=norm, eps=eps, suite=suite, seed=seed, device=device, what=what)
    made = {
        "threads": torch.get_num_threads(),
        "environment": record.versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    done = Report({**asked, **made}, panel, evaluation)
    for line in done.end():
        tell(line)
    return done


def facts(
    images: Images,
    *,
    norm: str,
    eps: float,
    suite: str,
    seed: int,
    device: torch.device,
    what: Mapping[str, Any],
) -> dict[str, Any]:
    """What a report is asked for, known before the work: by it `records` names the file."""
    return {
        **what,
        "norm": norm,
        "eps": eps,
        "suite": suite,
        "seed": seed,
        "n": len(images),
        "data_digest": images.digest,
        "device": str(device),
    }


def _clean(accuracy: Estimate, n: int) -> str:
    return f"clean accuracy {said(accuracy)}, n = {n}"


def _row(result: AttackResult, rows: Tensor, n: int) -> str:
    """A line of the table: one attack on the images `rows`, those that stood until then, of n."""
    broken = int(result.found.sum())
    return (
        f"{renamed(result):<24}{len(rows):>9}{broken:>8}{(len(rows) - broken) / n:>14.1%}"
        f"{result.queries[0]:>11,}{result.queries[1]:>11,}{result.seconds:>9.1f}"
    )


def said(estimate: Estimate) -> str:
    """A share with its interval, in per cent.

    >>> from causalnb.statistics import proportion
    >>> said(proportion(19, 20))
    '95.0 % [76.4, 99.1]'
    """
    ends = (
        f" [{estimate.low:.1%}, {estimate.high:.1%}]".replace("%", "")
        if estimate.low is not None and estimate.high is not None
        else ""
    )
    return f"{100 * estimate.value:.1f} %{ends}"


def budget(text: str) -> float:
    """A budget in pixel units from text: 0.3, 8/255 or 8 / 255.

    >>> budget("8/255") == 8 / 255
    True
    """
    try:
        eps = float(number(text))
    except (ValueError, OverflowError):
        raise UserError(
            f"eps = {text!r:.80} is not possible: give a number such as 0.3, or a fraction such as 8/255 "
            "(pixel units)."
        ) from None
    if not eps > 0:
        raise UserError(f"eps = {text} is not possible: a budget is a number above 0 (pixel units).")
    return eps
