"""The command `causalnb`. Each verb is a few lines over the package and imports what it needs, so that help
comes at once; a UserError ends it with one sentence and exit code 1.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from causalnb import UserError, console, paths
from causalnb.cli import sweeps, typed

if TYPE_CHECKING:
    from causalnb.store import Store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A book that runs: execute, judge and compare its chapters.",
)
app.add_typer(sweeps.app, name="sweep")
Name = Annotated[str, typer.Argument(help="the chapter, by name or number: ace, 01")]
Values = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="a parameter; may be given many times"),
]


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter gets its number
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        print(console.plain_lines(str(error)), file=sys.stderr)
        sys.exit(1)


@app.command()
def run(
    name: Name,
    profile: Annotated[
        str | None, typer.Option(show_default="quick", help="quick, laptop, gpu or full")
    ] = None,
    parameter: Values = None,
    publish: bool = False,
) -> None:
    """Execute a chapter and leave its notebook and record under runs/."""
    from causalnb import runner

    one, values = runner.chapter(name), typed.values(parameter or (), profile)
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
def adopt(
    notebook: Annotated[Path, typer.Argument(help="a chapter's notebook that was edited in Jupyter")],
    force: Annotated[bool, typer.Option(help="also where the text has changed since")] = False,
) -> None:
    """Bring an edited notebook's cells into its chapter's text; no tag is lost, no output is taken."""
    from causalnb import runner

    print(runner.adopt(notebook, force=force))


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
            try:
                now, made = runner.state(run, one), run.record
            except UserError as error:
                console.tell(f"{one.number} {one.name}  {where}: {error}")
                continue
            because = f" because of {', '.join(now.because)}" if now.because else ""
            because += f", made elsewhere ({'; '.join(now.elsewhere)})" if now.elsewhere else ""
            console.tell(
                f"{one.number} {one.name}  {where}: {made.profile}, {made.device}, {made.finished}, "
                f"{made.seconds:.0f} s: {now.word}{because}"
            )


@app.command()
def compare(first: Path, second: Path) -> None:
    """Two records, or the folders of two sweeps, measurement by measurement: both values, the difference, and
    same, different or not comparable.
    """
    from causalnb import record

    if _of_attack(first) and _of_attack(second):
        from causalnb.attacks import records

        one, other = records.read(first), records.read(second)
        rows = record.compare(records.measured(one), records.measured(other))
        for name in records.differing(records.asked(one), records.asked(other)):
            console.tell(f"asked: {name}  {one.get(name)}  {other.get(name)}")
    elif all((one / "points.csv").is_file() for one in (first, second)):
        from causalnb import sweep

        rows = sweep.compare(sweep.find(str(first)), sweep.find(str(second)))
    else:
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
def judge(
    where: Annotated[Path, typer.Argument(help="a record.json, the folder of a run, or an attack's record")],
) -> None:
    """The verdict on every row of the ledger that a record is asked to decide; of an attack's record, whether
    its number is to be believed.
    """
    from causalnb import ledger, record

    if _of_attack(where):
        from causalnb.attacks import records

        return print(*map(console.plain, records.judged(records.read(where))), sep="\n")
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
    model: Annotated[Path, typer.Option(help="weights, as safetensors; of a .pt file you are told how")],
    architecture: Annotated[
        str,
        typer.Option(
            help="one of lenet, small_cnn, cnn37, gap_cnn, resnet20, resnet18, vgg16_cifar, or a "
            "classification model of torchvision's, with torchvision: before it where ours has its name"
        ),
    ],
    data_set: Annotated[
        str, typer.Option("--data", help="a set that `causalnb data` lists, or a folder with test/CLASS/")
    ],
    eps: Annotated[str, typer.Option(help="the budget in pixel units, of [0, 1]: 0.3, or 8/255")],
    norm: Annotated[str, typer.Option(help="linf or l2")] = "linf",
    suite: Annotated[str, typer.Option(help="short (minutes), full, standard or rand")] = "short",
    n_images: Annotated[int, typer.Option(help="test images, at most")] = 500,
    first: Annotated[
        bool,
        typer.Option("--first", help="the first images of the set, not a draw balanced over the classes"),
    ] = False,
    seed: int = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps")] = "auto",
    mean: Annotated[
        str, typer.Option(help="per channel, if the model was trained on normalised images: 0.5,0.5,0.5")
    ] = "",
    std: Annotated[
        str, typer.Option(help="per channel, what those images were divided by: 0.25,0.25,0.25")
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            help="of a model that knows more classes: its output for each class of the set, 0,217,482"
        ),
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="of the architecture: width=0.5; may be given many times"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="where the record goes: a .json file, or a folder")
    ] = None,
) -> None:
    """Attack a model of your own: the sanity panel, a table of attacks, and a record."""
    from causalnb import notebook
    from causalnb.attacks import asked

    where = asked.attack(
        asked.Asked(
            model,
            architecture,
            data_set,
            eps,
            norm=norm,
            suite=suite,
            n_images=n_images,
            first=first,
            seed=seed,
            device=notebook.find_device(device.lower()),
            mean=mean,
            std=std,
            classes=classes,
            options=dict(typed.pair(text, "--option", "width=0.5") for text in option or ()),
        ),
        output,
        tell=console.tell,
    )
    print(f"\nrecord: {paths.short(where)}")


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


@app.command()
def crate(output: Annotated[Path | None, typer.Argument(help="a .zip file")] = None) -> None:
    """Write the edition as one RO-Crate: site, records, verdicts, notebooks, weights, environment."""
    from causalnb import __version__
    from causalnb.book import crate

    print(paths.short(crate.write(paths.book_root(), output or Path(f"causalnb-{__version__}.zip"))))


@app.command()
def changes(
    since: Annotated[str, typer.Argument(help="an edition, 0.3.0, or what git knows it by")],
    until: Annotated[str, typer.Argument(help="another", show_default="what is here")] = "",
) -> None:
    """Which verdicts changed between two editions, and because of what, as Markdown."""
    from causalnb.book import changes

    root = paths.book_root()
    now = changes.at(root, until) if until else changes.judged(root)
    print(console.plain_lines(changes.markdown(changes.at(root, since), now)), end="")


def _of_attack(file: Path) -> bool:
    """Whether a file is the record of an attack: it holds a sanity panel. Nothing heavy is loaded."""
    with suppress(OSError):
        return file.is_file() and b'"panel": [' in file.read_bytes()
    return False
