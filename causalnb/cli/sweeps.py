"""`causalnb sweep CHAPTER -p ...` and `causalnb sweep show NAME`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from causalnb import UserError, console, paths
from causalnb.cli import typed


class _Verbs(TyperGroup):
    """A first word that is no verb is the chapter to be swept."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        verb = args and args[0] not in (*self.commands, "--help")
        return super().parse_args(ctx, ["run", *args] if verb else args)


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    help="Execute a chapter at many values of its parameters: causalnb sweep CHAPTER -p NAME=VALUE,VALUE.",
)


@app.command()
def run(
    chapter: Annotated[str, typer.Argument(help="the chapter, by name or number: ace, 01")],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            metavar="NAME=VALUES",
            help="values of a parameter, eps=0.1,0.2 or seed=0:5 (0 to 4); may be given many times",
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help="a CSV file: names of parameters, then a point a line; for what is no product"),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(show_default="quick", help="quick, laptop, gpu or full")
    ] = None,
    name: Annotated[str, typer.Option(show_default="what varies", help="the name of the sweep")] = "",
) -> None:
    """Execute a chapter at every combination of values; begun again, only what is missing."""
    from causalnb import runner, sweep

    pairs = [typed.pair(text, "-p", "eps=0.1,0.2") for text in parameter or ()]
    pairs += [("profile", profile)] if profile else []
    values = {key: sweep.listed(key, text) for key, text in pairs}
    if len(values) < len(pairs):
        raise UserError("A parameter was asked twice: give all its values at once, eps=0.1,0.2.")
    asked = sweep.product(values, sweep.from_file(points) if points else [{}])
    if asked == [{}]:
        raise UserError("A sweep of what? Give values, -p eps=0.1,0.2, or a file of points, --points FILE.")
    each = [typed.values([f"{key}={value}" for key, value in point.items()], None) for point in asked]
    swept, outcomes = sweep.run(runner.chapter(chapter), each, name)
    failed = {point: one.sentence for point, one in outcomes.items() if one.word == "failed"}
    words = [one.word for one in outcomes.values()]
    print(
        f"{swept.chapter}, {len(words)} points: {words.count('made')} made, {words.count('there')} there "
        f"before, {len(failed)} failed; {paths.short(swept.home)}"
    )
    if failed:
        told = "\n".join(f"{point}: {sentence}" for point, sentence in failed.items())
        raise UserError(f"{len(failed)} of {len(words)} points failed, the others are there:\n{told}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="the sweep: NAME, CHAPTER/NAME, or its folder")],
    figure: Annotated[
        str, typer.Option(metavar="MEASUREMENT", help="also draw this one, with its intervals")
    ] = "",
    over: Annotated[str, typer.Option(metavar="PARAMETER", help="over this one, else the first")] = "",
) -> None:
    """What a sweep says: tables of its numbers and of what each rule says of them, and where that flips."""
    from causalnb import figstyle, files, sweep

    said = sweep.find(name)
    over = over or next(iter(said.varied), "")
    drawn = said.figure(figure, over) if figure else None
    written = said.write()
    for words in said.summary():
        console.tell("  ".join(words))
    for flip in said.flips():
        console.tell(f"flips: {flip}")
    if drawn:
        file = sweep.safe(figure)
        svg = figstyle.inline_svg(drawn, f"{figure} over {over}, with intervals", file)
        written.append(files.write(said.swept.home / f"{file}.svg", svg))
    print(
        f"{len(said.records)} of {len(said.swept.points)} points have a record, {len(said.stale)} of them "
        f"stale; written: {', '.join(paths.short(file) for file in written)}"
    )
