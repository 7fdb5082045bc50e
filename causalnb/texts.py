"""The text notebooks: which chapters there are, a text as a notebook, an edited notebook back as its text.

Nothing is executed here.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from causalnb import UserError, files, paths, places, record

if TYPE_CHECKING:
    from nbformat import NotebookNode

NUMBERED = re.compile(r"(\d\d)_(\w+)\.md")
BEGINS = re.compile(r"""\bbegin\(\s*["'](\w+)["']""")
FENCE = re.compile(r"^```\{code-cell\}.*?^```$", re.MULTILINE | re.DOTALL)
OURS = {"tags", "mystnb"}  # of a cell's metadata: what a text may hold that was not there before


@dataclass(frozen=True)
class Chapter:
    """A chapter by its number ("01"), its name ("ace"), its title and its text notebook."""

    number: str
    name: str
    title: str
    source: Path


def chapters() -> dict[str, Chapter]:
    """The book's chapters by name, in order."""
    found = {}
    for file in sorted((paths.book_root() / "notebooks").glob("*.md")):
        match = NUMBERED.fullmatch(file.name)
        if match and Path(__file__).with_name("chapters").joinpath(match[2]).is_dir():  # else notes
            lines: list[str] = []
            with suppress(UserError):  # whoever asks for this chapter is told
                lines = _text(file).splitlines()
            title = next((line[2:].strip() for line in lines if line.startswith("# ")), match[2])
            found[match[2]] = Chapter(match[1], match[2], title, file)
    return found


def chapter(name: str) -> Chapter:
    """A chapter by its name or its number: "ace", "01" and "1" are the same."""
    known = chapters()
    for one in known.values():
        if name.lower() in (one.name, one.number, one.number.lstrip("0") or "0"):
            return one
    raise UserError(
        f"{name} is not a chapter of this book. Known are "
        f"{', '.join(f'{c.number} {c.name}' for c in known.values())}."
    )


def convert(one: Chapter) -> NotebookNode:
    """The chapter's text as a notebook for Jupyter and papermill, without outputs."""
    import jupytext
    from yaml import YAMLError

    text = _text(one.source)
    try:
        node = jupytext.reads(text, {"extension": ".md"})
        node.metadata[places.SEAL] = {"text": record.digest(text)}
        return node
    except (ValueError, YAMLError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{paths.short(one.source)} is no text notebook ({reason}): mend its text.") from None


def convert_to(one: Chapter, output: Path) -> Path:
    """Write the chapter as a notebook; a file that we did not write, or that was changed since, is never
    replaced.
    """
    file = Path(os.path.realpath(output))
    if file.suffix != ".ipynb":
        raise UserError(f"{output} is no place for a notebook: give a name that ends in .ipynb.")
    if os.path.lexists(file) and not places.untouched(file, "converted"):
        raise UserError(
            f"{output} is there already, and causalnb did not write it as it is now: give another name, "
            "or move it away."
        )
    return files.write(file, places.sealed(convert(one), "converted"))


def _text(file: Path) -> str:
    try:
        with files.refusals(file, "read"):
            return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{paths.short(file)} is not UTF-8 text: save it as UTF-8.") from None


def cells(one: Chapter) -> str:
    """The digest of the chapter's code cells as they are now."""
    return record.cells_digest([cell.source for cell in convert(one).cells if cell.cell_type == "code"])


# The way back ---------------------------------------------------------------------------------------------


def adopt(file: Path, *, force: bool = False) -> str:
    """Bring the cells of an edited notebook into its chapter's text, and say how many changed.

    What a cell's tags were they stay, and those of the notebook come beside them; outputs, and the cell that
    papermill injects, stay outside. A cell that is as it was keeps its text to the letter.

    force   also where the text has changed since the notebook was made from it
    """
    import jupytext

    node = _notebook(file)
    named = [name for cell in node.cells if cell.cell_type == "code" for name in BEGINS.findall(cell.source)]
    if not named:
        raise UserError(
            f"{file} is no chapter's notebook: none of its cells calls begin with a chapter's name."
        )
    one = chapter(named[0])
    text, before = _text(one.source), convert(one).cells
    if not force and node.metadata.get(places.SEAL, {}).get("text") != record.digest(text):
        raise UserError(
            f"{paths.short(one.source)} is not the text that {file} was made from, and what was changed "
            "there would be lost: convert it again and bring your cells over, or add --force."
        )
    pairs = _pairs(before, after := [_bare(cell) for cell in node.cells if not _injected(cell)])
    for new, old in pairs.items():
        _keep(after[new], before[old])
    same = {new: old for new, old in pairs.items() if _told(after[new]) == _told(before[old])}
    whole = jupytext.reads(text, {"extension": ".md"})
    whole.cells = after
    body = _pieces(text, before, after, same)
    if body is None or list(map(_told, jupytext.reads(body, {"extension": ".md"}).cells)) != list(
        map(_told, after)
    ):
        body = jupytext.writes(whole, fmt="md:myst")
    files.write(one.source, body)
    return (
        f"{len(same)} cells as they were, {len(pairs) - len(same)} changed, {len(after) - len(pairs)} new, "
        f"{len(before) - len(pairs)} gone"
    )


def _notebook(file: Path) -> NotebookNode:
    import nbformat

    with files.refusals(file, "read"):
        content = file.read_bytes()
    try:
        return nbformat.reads(content.decode("utf-8-sig"), as_version=4)
    except Exception as error:  # whatever nbformat has against it
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise UserError(
            f"{file} is no notebook ({reason}): give an .ipynb file that Jupyter saved."
        ) from None


def _injected(cell: NotebookNode) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def _bare(cell: NotebookNode) -> NotebookNode:
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    return cell


def _told(cell: NotebookNode) -> tuple[str, str, dict[str, object]]:
    """What a text holds of a cell."""
    return cell.cell_type, cell.source.strip(), dict(cell.metadata)


def _pairs(before: list[NotebookNode], after: list[NotebookNode]) -> dict[int, int]:
    """Which cell was which: the same source, or in the same place between two that are the same."""
    old, new = ([(cell.cell_type, cell.source.strip()) for cell in cells] for cells in (before, after))
    found = {}
    for _, a, to_a, b, to_b in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for was, now in zip(range(a, to_a), range(b, to_b), strict=False):
            if old[was][0] == new[now][0]:
                found[now] = was
    return found


def _keep(cell: NotebookNode, was: NotebookNode) -> None:
    """Give a cell back what the text says of it, and leave out what editors say."""
    own = {name: value for name, value in cell.metadata.items() if name in OURS}
    tags = list(dict.fromkeys([*was.metadata.get("tags", []), *own.get("tags", [])]))
    cell.metadata.clear()
    cell.metadata.update({**own, **was.metadata} | ({"tags": tags} if tags else {}))


def _pieces(
    text: str, before: list[NotebookNode], after: list[NotebookNode], same: dict[int, int]
) -> str | None:
    """The text in which cells that are as they were keep theirs; None where they cannot be told apart."""
    import jupytext
    import nbformat

    head, _, body = text.partition("\n---\n")
    parts = [
        piece.strip("\n")
        for part in re.split(f"({FENCE.pattern})", body, flags=FENCE.flags)
        for piece in ([part] if FENCE.match(part) else re.split(r"^\+\+\+.*$", part, flags=re.MULTILINE))
        if piece.strip()
    ]
    if len(parts) != len(before):
        return None
    if list(same.items()) == [(k, k) for k in range(len(before))] and len(after) == len(before):
        return text
    made: list[str] = []
    for place, cell in enumerate(after):
        if place and cell.cell_type == after[place - 1].cell_type == "markdown":
            made.append("+++")
        if place in same:
            made.append(parts[same[place]])
        else:
            alone = nbformat.v4.new_notebook(cells=[cell])
            made.append(jupytext.writes(alone, fmt="md:myst").split("\n---\n", 1)[1].strip("\n"))
    blank = body[: len(body) - len(body.lstrip("\n"))]
    return f"{head}\n---\n{blank}" + "\n\n".join(made) + "\n"
