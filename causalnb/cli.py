"""The command `causalnb`. Each verb is a few lines over the package and imports what it needs, so that help
comes at once; a UserError ends it with one sentence and exit code 1.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from causalnb import UserError, console, paths

if TYPE_CHECKING:
    from causalnb.store import Store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A book that runs: execute, judge and compare its chapters.",
)
Name = Annotated[str, typer.Argument(help="the chapter, by name or number: ace, 01")]
Values = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="a parameter; may be given many times"),
]


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        app()
    except UserError as error:
        print(console.plain_lines(str(error)), file=sys.stderr)
        sys.exit(1)


@app.command()
def run(
    name: Name,
    profile: Annotated[str | None, typer.Option(show_default="quick")] = None,
    parameter: Values = None,
    publish: bool = False,
) -> None:
    """Execute a chapter and leave its notebook and record under runs/."""
    from causalnb import runner

    one, values = runner.chapter(name), _values([*(parameter or [])], profile)
    if publish:
        runner.require_publishable(one, values)
    done = runner.run(one, values)
    if publish:
        done = runner.publish(done, one)
    print(
        f"{one.name}, {done.record.profile}: {len(done.record.measurements)} measurements in "
        f"{done.record.seconds:.0f} s, {paths.short(done.folder)}"
    )


@app.command()
def convert(name: Name, output: Path) -> None:
    """Write a chapter's text as a notebook for Jupyter or plain papermill."""
    from causalnb import runner

    runner.convert_to(runner.chapter(name), output)
    print(f"{output} is ready: papermill {output} OUT.ipynb -k python3 -p profile quick")


@app.command()
def status() -> None:
    """Which executions there are, and whether each is fresh, or stale because of what."""
    from causalnb import runner

    for one in runner.chapters().values():
        runs = [("published", run) for run in runner.published(one)] + [
            ("this machine", run) for run in runner.local(one)
        ]
        if not runs:
            console.tell(f"{one.number} {one.name}  never run")
        for where, run in runs:
            now, made = runner.state(run, one), run.record
            because = f" because of {', '.join(now.because)}" if now.because else ""
            because += f", made elsewhere ({'; '.join(now.elsewhere)})" if now.elsewhere else ""
            console.tell(
                f"{one.number} {one.name}  {where}: {made.profile}, {made.device}, {made.finished}, "
                f"{made.seconds:.0f} s: {now.word}{because}"
            )


@app.command()
def compare(first: Path, second: Path) -> None:
    """Two records, measurement by measurement: both values, the difference, and same, different or not
    comparable.
    """
    from causalnb import record

    rows = record.compare(record.read(first), record.read(second))
    for row in rows:
        values = [f"{e.value:.6g}" if e else "-" for e in (row.first, row.second)]
        apart = f"{row.difference:+.3g}" if row.difference is not None else "-"
        console.tell(
            f"{row.id}  {values[0]}  {values[1]}  {apart}  {row.word}"
            + (" (the data differ or one lacks it)" if row.difference is None else "")
        )
    words = [row.word for row in rows]
    expected = [row.expected for row in rows if row.expected is not None]
    print(
        f"{len(rows)} measurements: {words.count('same')} same, {words.count('different')} different, "
        f"{words.count('not comparable')} not comparable; "
        f"{sum(expected)} of {len(expected)} comparable ones lie inside their 95 % prediction interval"
    )


@app.command()
def judge(where: Annotated[Path, typer.Argument(help="a record.json or the folder of a run")]) -> None:
    """The verdict on every row of the ledger that a record is asked to decide."""
    from causalnb import ledger, record

    one = record.read(where)
    verdicts = ledger.judge(ledger.load(one.chapter), one)
    for verdict in verdicts:
        console.tell(
            f"{ledger.SYMBOLS[verdict.word]} {verdict.word:<15} {verdict.row.id}"
            + (f"  {verdict.reason}" if verdict.reason else "")
        )
    print(", ".join(f"{n} {word}" for word, n in ledger.counts(verdicts).items()))


@app.command()
def spread(name: Name) -> None:
    """Measure how far a chapter's cells spread over trainings set apart: seed_spread.json beside its ledger,
    which tolerances take.
    """
    from causalnb import ledger, runner

    chapter = runner.chapter(name).name
    module = f"causalnb.chapters.{chapter}.seed_spread"
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"{chapter} measures no seed spread: causalnb/chapters/{chapter}/seed_spread.py does not exist. "
            "Give another chapter, such as ace."
        )
    from causalnb import notebook

    apart = importlib.import_module(module)
    values = apart.measured(partial(notebook.begin, chapter))
    print(f"{len(values)} spreads: {paths.short(ledger.keep_spreads(chapter, apart.SEEDS, values))}")


@app.command()
def attack(
    model: Annotated[Path, typer.Option(help="weights, as safetensors")],
    architecture: Annotated[str, typer.Option(help="resnet20, small_cnn, ...")],
    data_set: Annotated[str, typer.Option("--data", help="a data set")],
    eps: Annotated[str, typer.Option(help="the budget: 0.3, or 8/255")],
    norm: str = "linf",
    suite: str = "short",
    n_images: int = 500,
    seed: int = 0,
    device: str = "auto",
    mean: Annotated[
        str, typer.Option(help="per channel, if the model was trained on normalised images: 0.5,0.5,0.5")
    ] = "",
    std: str = "",
    output: Annotated[
        Path | None, typer.Option(help="where the record goes: a .json file, or a folder")
    ] = None,
) -> None:
    """Attack a model of your own: the sanity panel, a table of attacks, and a record."""
    from causalnb import data, models, notebook, record
    from causalnb.attacks import records
    from causalnb.attacks.report import budget, facts, report
    from causalnb.attacks.suites import SUITES
    from causalnb.store import Store

    for what, value, known in (("suite", suite, tuple(SUITES)), ("norm", norm, ("linf", "l2"))):
        if value not in known:
            raise UserError(f"{what} = {value!r} is not possible: it is one of {', '.join(known)}.")
    budget_in_pixels, images = budget(eps), data.load(data_set, "test")
    scale = {name: _per_channel(name, text) for name, text in (("mean", mean), ("std", std)) if text}
    _, channels, size, _ = images.images.shape
    net = models.load(model, architecture, classes=len(images.classes), channels=channels, size=size, **scale)
    some = data.draw(images, min(n_images, len(images)), seed=seed)
    given: dict[str, Any] = {
        "norm": norm,
        "eps": budget_in_pixels,
        "suite": suite,
        "seed": seed,
        "device": notebook.find_device(device),
        "what": {
            "model": str(model),
            "model_digest": record.file_digest(model),
            "architecture": architecture,
            "data": data_set,
            **scale,
        },
    }
    path = records.place(output, facts(some, **given))
    done = report(net, some, store=Store(), **given)
    print(done)
    print(f"\nrecord: {paths.short(done.write(path))}")


@app.command("data")
def data_command(
    name: Annotated[str | None, typer.Argument(help="a set to download; without it, all are listed")] = None,
) -> None:
    """List the data sets, or download one under the data root."""
    from causalnb import data

    if name:
        data.require(name)
    print(f"data root: {paths.data_root()}")
    for one in data.describe():
        print(
            f"{one['name']:<14} {'present' if one['present'] else 'absent ':<8} {one['megabytes']:>6} MB  "
            f"{one['what']}; {one['licence']}"
        )


@app.command()
def store(
    verify: bool = False,
    prune: Annotated[
        str | None,
        typer.Option(help="remove the entries that have this text in what they hold, once you agree"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="agree to what --prune lists")] = False,
    export: Annotated[str | None, typer.Option(help="an entry's digest: copy it to --to")] = None,
    to: Path = Path("weights"),
    add: Annotated[Path | None, typer.Option("--import", help="a file that was exported")] = None,
) -> None:
    """List what is kept of expensive work; verify, prune, export and import it."""
    from causalnb.store import Store

    kept = Store()
    if add is not None:
        kept.import_(add)
    if export is not None:
        print(kept.export(export, to))
    if prune is not None:
        _prune(kept, prune, agreed=yes)
    entries = kept.entries()
    for entry in entries:
        print(
            f"{entry.digest[:16]}  {entry.bytes / 1e6:9.2f} MB  {entry.seconds:9.1f} s  {entry.device:<5} "
            f"{console.plain(entry.what, 80)}"
        )
    if unlisted := len(kept.every_file()) - len(entries):
        print(f"{unlisted} more cannot be listed: `causalnb store --verify` says why.")
    if verify:
        faults = kept.verify()
        print(f"{len(faults)} entries are damaged or in the wrong place")
        for path, fault in faults:
            print(console.plain(f"{path} {fault}", 1000))


def _prune(kept: Store, text: str, *, agreed: bool) -> None:
    """Remove what the text chooses: first it is listed, then someone agrees."""
    found = kept.matching(text)
    for path in found:
        print(f"to be removed: {console.plain(path.name, 200)}")
    if found and not agreed:
        try:
            agreed = typer.confirm(f"Remove these {len(found)}?")
        except typer.Abort:
            raise UserError("Nothing was removed: answer y, or add --yes to the command.") from None
    if agreed:
        kept.remove(found)
    print(f"{len(found) if agreed else 0} removed")


@app.command("book")
def book_command(
    execute: Annotated[bool, typer.Option(help="execute stale quick runs first")] = True,
) -> None:
    """Execute what is stale at the quick profile, then render the site."""
    from causalnb import book

    print(f"The book is ready: open {paths.short(book.build(execute=execute))}")


def _per_channel(name: str, text: str) -> tuple[float, ...]:
    """Numbers from text: 0.5,0.5,0.5."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise UserError(
            f"{name} = {text!r} is not possible: give one number per channel, for example 0.5,0.5,0.5."
        ) from None


def _values(pairs: list[str], profile: str | None) -> dict[str, Any]:
    """NAME=VALUE pairs: 20 and 1e-3 are numbers, True is true, what is no Python literal is text; the
    profile is quick unless one is asked for.
    """
    asked: list[tuple[str, Any]] = [] if profile is None else [("profile", profile)]
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(
                f"-p {pair} is not possible: give a parameter as NAME=VALUE, for example -p n_images=20."
            )
        asked.append((name, _literal(value)))
    found: dict[str, Any] = {}
    for name, value in asked:
        if repr(found.setdefault(name, value)) != repr(value):
            raise UserError(
                f"{name} = {found[name]!r} and {name} = {value!r} were both asked: give one of them."
            )
    return {"profile": "quick", **found}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
