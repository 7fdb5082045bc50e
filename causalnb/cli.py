"""The command `causalnb`. Each verb is a few lines over the package; a UserError ends it with one sentence
and exit code 1.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from causalnb import UserError, book, console, data, ledger, models, notebook, paths, record, runner
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
def run(name: Name, profile: str = "quick", parameter: Values = None, publish: bool = False) -> None:
    """Execute a chapter and leave its notebook and record under runs/."""
    one = runner.chapter(name)
    done = runner.run(one, {"profile": profile, **_values(parameter)})
    if publish:
        done = runner.publish(done, one)
    print(
        f"{one.name}, {done.record.profile}: {len(done.record.measurements)} measurements in "
        f"{done.record.seconds:.0f} s, {paths.short(done.folder)}"
    )


@app.command()
def convert(name: Name, output: Path) -> None:
    """Write a chapter's text as a notebook for Jupyter or plain papermill."""
    import nbformat

    output.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(runner.convert(runner.chapter(name)), output)
    print(f"{output} is ready: papermill {output} OUT.ipynb -k python3 -p profile quick")


@app.command()
def status() -> None:
    """Which executions there are, and whether each is fresh, or stale because of what."""
    for one in runner.chapters().values():
        runs = [("published", run) for run in runner.published(one)] + [
            ("this machine", run) for run in runner.local(one)
        ]
        if not runs:
            console.tell(f"{one.number} {one.name}  never run")
        for where, run in runs:
            now, made = runner.state(run, one), run.record
            because = f" because of {', '.join(now.because)}" if now.because else ""
            console.tell(
                f"{one.number} {one.name}  {where}: {made.profile}, {made.device}, {made.finished}, "
                f"{made.seconds:.0f} s: {now.word}{because}"
            )


@app.command()
def compare(first: Path, second: Path) -> None:
    """Two records, measurement by measurement: both values, the difference, and same, different or not
    comparable.
    """
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
    chapter = runner.chapter(name).name
    module = f"causalnb.chapters.{chapter}.seed_spread"
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"{chapter} measures no seed spread: causalnb/chapters/{chapter}/seed_spread.py does not exist. "
            "Give another chapter, such as ace."
        )
    measured = importlib.import_module(module).measured(partial(notebook.begin, chapter))
    print(f"{len(measured)} spreads: {paths.short(ledger.keep_spreads(chapter, measured))}")


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
    output: Annotated[Path | None, typer.Option(help="where the record goes")] = None,
) -> None:
    """Attack a model of your own: the sanity panel, a table of attacks, and a record."""
    from causalnb.attacks import SUITES
    from causalnb.attacks.report import budget, report

    for what, value, known in (("suite", suite, tuple(SUITES)), ("norm", norm, ("linf", "l2"))):
        if value not in known:
            raise UserError(f"{what} = {value!r} is not possible: it is one of {', '.join(known)}.")
    budget_in_pixels, images = budget(eps), data.load(data_set, "test")
    scale = {name: _per_channel(name, text) for name, text in (("mean", mean), ("std", std)) if text}
    _, channels, size, _ = images.images.shape
    net = models.load(model, architecture, classes=len(images.classes), channels=channels, size=size, **scale)
    done = report(
        net,
        data.draw(images, min(n_images, len(images)), seed=seed),
        norm=norm,
        eps=budget_in_pixels,
        suite=suite,
        seed=seed,
        device=notebook.find_device(device),
        store=Store(),
        what={
            "model": str(model),
            "model_digest": record.file_digest(model),
            "architecture": architecture,
            "data": data_set,
        },
    )
    print(done)
    print(
        "\nrecord: "
        f"{paths.short(done.write(output or paths.runs_root() / 'attack' / f'{model.stem}-{suite}.json'))}"
    )


@app.command("data")
def data_command(
    name: Annotated[str | None, typer.Argument(help="a set to download; without it, all are listed")] = None,
) -> None:
    """List the data sets, or download one under the data root."""
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
    prune: Annotated[str, typer.Option(help="remove the entries whose name contains this")] = "",
    export: Annotated[str, typer.Option(help="an entry's digest: copy it to --to")] = "",
    to: Path = Path("weights"),
    add: Annotated[Path | None, typer.Option("--import", help="a file that was exported")] = None,
) -> None:
    """List what is kept of expensive work; verify, prune, export and import it."""
    kept = Store()
    if add:
        kept.import_(add)
    if export:
        print(kept.export(export, to))
    if prune:
        kept.prune(what=prune)
    for entry in kept.entries():
        print(
            f"{entry.digest[:16]}  {entry.bytes / 1e6:9.2f} MB  {entry.seconds:9.1f} s  {entry.device:<5} "
            f"{entry.what}"
        )
    if verify:
        damaged = kept.verify()
        print(f"{len(damaged)} entries are damaged" + "".join(f"\n{entry}" for entry in damaged))


@app.command("book")
def book_command(
    execute: Annotated[bool, typer.Option(help="execute stale quick runs first")] = True,
) -> None:
    """Execute what is stale at the quick profile, then render the site."""
    print(f"The book is ready: open {paths.short(book.build(execute=execute))}")


def _per_channel(name: str, text: str) -> tuple[float, ...]:
    """Numbers from text: 0.5,0.5,0.5."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise UserError(
            f"{name} = {text!r} is not possible: give one number per channel, for example 0.5,0.5,0.5."
        ) from None


def _values(pairs: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE pairs: 20 and 1e-3 are numbers, True is true, what is no Python literal is text."""
    found: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(
                f"-p {pair} is not possible: give a parameter as NAME=VALUE, for example -p n_images=20."
            )
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found
