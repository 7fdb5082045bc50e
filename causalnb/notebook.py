"""What a chapter's notebook holds in its hand: begin, section, measure, check, show, verdicts, finish.

A cell can be run twice: a measurement replaces the one of the same id. Nothing here computes a result.
"""

from __future__ import annotations

import inspect
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import causalnb
from causalnb import UserError, data, figstyle, files, fragments, kernel, ledger, paths, record, usage
from causalnb.parameters import parameters_of
from causalnb.statistics import Estimate, Interval, logic
from causalnb.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEMORY = "The device {device} ran out of memory: lower n_images or the batch, or choose another device."
LOST = (
    "The device {device} stopped answering: start the run again (what was finished is in the store), or "
    "choose device=cpu."
)


def begin(chapter: str, **values: Any) -> Run:
    """Start a chapter's run: take the parameters, refuse what is unknown or impossible, resolve the rest.

    In a notebook the parameters are the names that its parameters cell declared and, for names nobody knows,
    those in the cell that papermill injected; one that is not what was asked is refused. From a script they
    are keyword arguments.

    >>> run = begin("ace", eps=0.2)  # doctest: +SKIP
    """
    model = parameters_of(chapter)
    shell = kernel.shell()
    p = model.resolve(values if values or shell is None else kernel.declared(shell, model))
    if shell is not None:
        kernel.require_used(kernel.asked(shell), p)
    device = find_device(p.device)
    for name in p.sets:
        data.require(name)
    torch.set_num_threads(p.threads)
    run = Run(chapter, p, device, shell)
    if shell is not None:
        run.require_place()
        shell.set_custom_exc((RuntimeError, MemoryError), _device_sentence(str(device)))
    return run


def find_device(name: str) -> torch.device:
    """The device of that name, where "auto" is the first GPU or else the CPU; a UserError where it does not
    exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device = {name!r} is not possible: it is auto, cpu, cuda, cuda:1 or mps.") from None
    present = {
        "cpu": device.index is None,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        raise UserError(
            f"device = {name!r} is not possible: this machine, or this build of torch, has no such device. "
            "Choose device=cpu or device=auto."
        )
    return device


class Run:
    """One execution of a chapter: its parameters `p`, its `store`, its `device`, its `ledger`, and what was
    measured.
    """

    def __init__(self, chapter: str, p: Any, device: torch.device, shell: Any = None) -> None:
        """`begin` makes it; p are the chapter's resolved parameters."""
        book = paths.find_book()
        self.chapter, self.p, self.device, self._shell = chapter, p, device, shell
        self.store = Store(layers=(book / "weights",) if book else ())
        self.ledger = ledger.load(chapter)
        self.measurements: dict[str, record.Measurement] = {}
        self._sections: dict[str, record.Section] = {}
        self._data: dict[str, str] = {}
        self._images: dict[tuple[str, data.Split], data.Images] = {}
        self._started = datetime.now(UTC)
        self._clock = (time.perf_counter(), usage.cpu_seconds())
        self._open: tuple[str, float, float] | None = None
        self._figures = 0
        self._folder: Path | None = None

    def section(self, name: str) -> None:
        """From here on time counts for `name`, until the next section."""
        self._close()
        self._open = (name, time.perf_counter(), usage.cpu_seconds())

    def _close(self) -> None:
        if self._open:
            name, wall, cpu = self._open
            self._sections[name] = record.Section(
                name=name,
                seconds=round(time.perf_counter() - wall, 3),
                cpu_seconds=round(usage.cpu_seconds() - cpu, 3),
                peak_memory=_peak_memory(self.device),
            )
        self._open = None

    def load(self, name: str, split: data.Split = "test") -> data.Images:
        """A data set, once in memory for all who ask; its digest goes into the record."""
        if (name, split) not in self._images:
            self._images[name, split] = data.load(name, split, store=self.store)
        self._data[name] = self._images[name, split].digest
        return self._images[name, split]

    def measure(
        self, id: str, estimate: Estimate, *, data: str | Iterable[str] | None = None, what: str = ""
    ) -> Estimate:
        """Put a result into the record, with the digests of the ledger rows that it helps to decide as they
        stand now.

        data   the sets that it was taken on, "" for none; a `MeasurementId` says it itself
        """
        on = getattr(id, "data", None) if data is None else record.data_sets(data)
        if on is None:
            raise ValueError(f'{id} does not say which data it was taken on: give data="" for none.')
        id = id if isinstance(id, record.MeasurementId) else record.MeasurementId.of(id, on=on)
        rows = self.ledger.digests_of(id)
        section = self._open[0] if self._open else ""
        self.measurements[id] = record.Measurement(
            estimate=estimate, what=what, section=section, data=on, rows=rows
        )
        return estimate

    def level(self, id: str) -> float:
        """The level that an interval must have to decide every row that the measurement helps to decide."""
        return max((row.level for row in self.ledger.decided_by(id)), default=0.95)

    def printed(self, pattern: str) -> dict[str, float]:
        """The numbers that the paper prints, by row id."""
        return {
            row.id: ledger.read_printed(row.printed)[0]
            for row in self.ledger.rows
            if row.kind == "cell" and ledger.matches(pattern, row.id)
        }

    def estimates(self, pattern: str) -> dict[Any, Estimate]:
        """What was measured, by `MeasurementId`, where the id matches; one that was measured under plain text
        has no parts.
        """
        return {id: one.estimate for id, one in self.measurements.items() if ledger.matches(pattern, id)}

    def interval(self, id: str) -> Interval:
        """A measured value and its interval's ends; the value itself where there is none."""
        return self.measurements[id].estimate.interval

    def measure_all(
        self, estimates: Mapping[str, Estimate], *, data: str | Iterable[str] | None = None
    ) -> None:
        """`measure` for each id."""
        for id, estimate in estimates.items():
            self.measure(id, estimate, data=data)

    def check(self, *checks: Any) -> None:
        """Record logical checks (objects with id, what, value, bound, holds, n) and show each as a line."""
        for one in checks:
            self.measure(one.id, logic(one.holds, n=one.n), data="", what=fragments.compared(one))
        self.html("".join(fragments.check(one) for one in checks))

    def values(self, *patterns: str, digits: int = 3) -> None:
        """Print measured values, rounded, a line each: what the notebook tests compare."""
        for pattern in patterns:
            for id, one in sorted(self.estimates(pattern).items()):
                print(f"{id} {one.value:.{digits}f}")

    def show(self, figure: Figure, *, alt: str, caption: str, side: bool = False) -> None:
        """Show a figure in the page's ink, with alt text and a caption whose first sentence is its
        message.
        """
        self.html(fragments.figure(self._drawn(figure, alt), caption, side=side))

    def explore(
        self,
        figure: Figure,
        choices: Mapping[str, Sequence[str]],
        tiles: Mapping[tuple[str, ...], Any],
        *,
        alt: str,
        caption: str,
    ) -> None:
        """Show what belongs to any combination of choices, a `fragments.Tile` each, or a `fragments.Bars`;
        `figure` stands instead of them in Jupyter, without script and on paper.
        """
        as_bars = any(isinstance(one, fragments.Bars) for one in tiles.values())
        explorer = fragments.bars if as_bars else fragments.explorer
        self.html(explorer(choices, tiles, self._drawn(figure, alt), caption, alt))

    def _drawn(self, figure: Figure, alt: str) -> str:
        self._figures += 1
        return figstyle.inline_svg(figure, alt, f"{self.chapter}{self._figures}")

    def table(self, names: Sequence[str], lines: Iterable[Sequence[str]], *, caption: str) -> None:
        """Show a table of texts; the first of each line heads it, and the caption's first sentence is its
        message.
        """
        self.html(fragments.plain(names, list(lines), caption))

    def html(self, source: str) -> None:
        """Show HTML as a cell's output; nothing happens outside a notebook."""
        if self._shell is not None:
            from IPython.display import HTML, display

            display(HTML(source))

    def source(self, function: Any) -> None:
        """Show a function's own source."""
        if self._shell is not None:
            from IPython.display import Code, display

            display(Code(inspect.getsource(function), language="python"))

    def card(self) -> None:
        """The paper card: what is claimed, how many printed cells got which verdict, what run this is."""
        made = self.record()
        self.html(fragments.card(self.ledger.paper, ledger.judge(self.ledger, made), made, None))

    def verdicts(self, *selection: str, folded: bool = False) -> None:
        """The verdicts on the selected rows: a printed table ("Table I"), or a kind ("table", "claim",
        "erratum", "control", ...); folded, behind a line that opens them.
        """
        made = self.record()
        self.html(fragments.verdicts(ledger.judge(self.ledger, made), selection, made, folded))

    def remarks(self) -> None:
        """What is shown and not judged."""
        self.html(fragments.remarks(self.ledger, self.record()))

    def commands(self) -> None:
        """How to run this chapter: commands, then every parameter with what it takes."""
        self.html(fragments.run_box(self.chapter, type(self.p)))

    def record(self) -> record.Record:
        """The record as it stands."""
        cells = record.cells_digest(kernel.cells(self._shell))
        sources = {"notebook": cells, **record.computing_sources()}
        libraries = record.versions()
        own = type(self.p).resolve({"profile": self.p.profile})
        return record.Record(
            chapter=self.chapter,
            profile=self.p.profile,
            edition=causalnb.__version__,
            parameters=self.p.model_dump(),
            changed={name: value for name, value in self.p if value != getattr(own, name)},
            measurements=self.measurements,
            sections=list(self._sections.values()),
            sources=sources,
            source_digest=record.source_digest(cells, sources, libraries),
            environment={
                "versions": libraries,
                "platform": platform.system(),
                "machine": platform.machine(),
                "accelerator": _accelerator(self.device),
                "counted": _counted(self.device),
            },
            seeds=[self.p.seed],
            device=str(self.device),
            threads=self.p.threads,
            data=dict(self._data),
            store=list(self.store.uses),
            started=self._started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.perf_counter() - self._clock[0], 2),
            cpu_seconds=round(usage.cpu_seconds() - self._clock[1], 2),
            peak_memory=_peak_memory(self.device),
            commit=_commit(),
        )

    def finish(self) -> None:
        """Write the record: where the runner asked, else beside papermill's output, else into a new folder
        under runs/; say where.
        """
        self._close()
        if (
            self._shell is not None
        ):  # papermill writes its cell after the one that is tagged, also if that is late
            kernel.require_used(kernel.asked(self._shell), self.p)
        self.require_place()
        file = self._place()
        with files.refusals(file):
            self.record().write(file)
        if not paths.record_file():
            print(f"{len(self.measurements)} measurements are recorded in {paths.short(file)}")

    def require_place(self) -> None:
        """Refuse a `CAUSALNB_RECORD` that holds anything but a run of this chapter with these parameters."""
        asked = paths.record_file()
        if asked and os.path.exists(asked):
            there = _read(asked)
            if there is None or (there.chapter, there.parameters) != (self.chapter, self.p.model_dump()):
                raise UserError(
                    f"CAUSALNB_RECORD = {asked} holds something else than a run of {self.chapter} with these "
                    "parameters: give another name, or move it away."
                )

    def _place(self) -> Path:
        output = self._shell.user_ns.get("PAPERMILL_OUTPUT_PATH") if self._shell else None
        if asked := paths.record_file():
            return asked
        if output and Path(output).is_file():  # not where papermill runs elsewhere than its kernel
            return Path(output).with_suffix(".record.json")
        if self._folder is None:
            stamp = f"{self.p.profile}-{self._started:%Y%m%d-%H%M%S}"
            self._folder = files.fresh_folder(paths.runs_root() / self.chapter, stamp)
        return self._folder / "record.json"


def _read(file: Path) -> record.Record | None:
    try:
        return record.read(file)
    except UserError:
        return None


def _device_sentence(device: str) -> Any:
    def handler(
        shell: Any, kind: type[BaseException], value: BaseException, trace: Any, tb_offset: int | None = None
    ) -> list[str]:
        text = str(value)
        out_of_memory = isinstance(value, torch.OutOfMemoryError | MemoryError)
        if out_of_memory or "device-side" in text or "CUDA error" in text or "device lost" in text:
            kind, value = UserError, UserError((MEMORY if out_of_memory else LOST).format(device=device))
            lines = [str(value)]
        else:
            lines = shell.InteractiveTB.structured_traceback(kind, value, trace, tb_offset=tb_offset)
        shell._showtraceback(kind, value, lines)
        return lines

    return handler


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU where one computes, else of this process and its workers."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else usage.peak_memory()


def _counted(device: torch.device) -> str:
    """What the record's seconds and memory count, in words."""
    return usage.counted() + (f"; peak memory: {device}'s own" if device.type == "cuda" else "")


def _accelerator(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def _commit() -> str | None:
    book = paths.find_book()
    if book is None or not (book / ".git").exists():
        return None
    with suppress(OSError):  # no git program
        asked = ["git", "rev-parse", "HEAD"]
        return subprocess.run(asked, cwd=book, capture_output=True, text=True).stdout.strip() or None
    return None
