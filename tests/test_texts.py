"""From Jupyter back to the text: no tag is lost, nothing else moves."""

import shutil
from pathlib import Path

import nbformat
import pytest

from causalnb import UserError, notebook, runner, texts
from causalnb.parameters import Parameters

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=["00_bench", "01_ace"])
def real(request, book):
    """A real chapter's text in a small book: the chapter, its text, its notebook in edited.ipynb."""
    Path("notebooks/01_ace.md").unlink()
    shutil.copy(ROOT / "notebooks" / f"{request.param}.md", "notebooks")
    one = runner.chapter(request.param[:2])
    text = one.source.read_text(encoding="utf-8")
    runner.convert_to(one, Path("edited.ipynb"))
    return one, text, nbformat.read("edited.ipynb", as_version=4)


def saved(node):
    nbformat.write(node, "edited.ipynb")
    return Path("edited.ipynb")


def test_a_notebook_that_was_only_run_leaves_the_text_as_it_is(real):
    one, text, node = real
    for count, cell in enumerate(node.cells):
        cell.metadata |= {"editable": True, "slideshow": {"slide_type": ""}, "execution": {"x": "1"}}
        if cell.cell_type == "code":
            cell.execution_count = count
            cell.outputs = [nbformat.v4.new_output("stream", text="done")]
    injected = nbformat.v4.new_code_cell(
        "# Parameters\neps = 0.2", metadata={"tags": ["injected-parameters"]}
    )
    node.cells.insert(2, injected)
    said = texts.adopt(saved(node))
    assert one.source.read_text(encoding="utf-8") == text
    assert said == f"{len(node.cells) - 1} cells as they were, 0 changed, 0 new, 0 gone"


def test_an_edit_comes_into_the_text_and_no_tag_is_lost(real):
    one, text, node = real
    before = runner.convert(one).cells
    tagged = [place for place, cell in enumerate(node.cells) if cell.metadata.get("tags")]
    changed = tagged[len(tagged) // 2]
    node.cells[changed].source += "\n# mine"
    node.cells[changed].metadata = {"tags": ["mine"]}
    node.cells.insert(changed + 1, nbformat.v4.new_code_cell("mine = 1", metadata={"tags": ["hide-input"]}))
    for cell in node.cells[:changed]:
        cell.metadata = {}
    assert texts.adopt(saved(node)).endswith("1 changed, 1 new, 0 gone")
    after = runner.convert(one).cells
    assert after[changed].source.endswith("# mine") and after[changed + 1].source == "mine = 1"
    assert after[changed].metadata.tags == [*before[changed].metadata.tags, "mine"]
    assert after[changed + 1].metadata.tags == ["hide-input"]
    del after[changed + 1]
    assert [cell.metadata for place, cell in enumerate(after) if place != changed] == [
        cell.metadata for place, cell in enumerate(before) if place != changed
    ]
    old, new = set(text.splitlines()), one.source.read_text(encoding="utf-8").splitlines()
    assert sum(line not in old for line in new) < 12


def test_a_text_that_changed_since_is_not_overwritten(real):
    one, text, node = real
    one.source.write_text(text + "\nMore.\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not the text that edited.ipynb was made from.* or add --force"):
        texts.adopt(saved(node))
    assert one.source.read_text(encoding="utf-8") == text + "\nMore.\n"
    texts.adopt(saved(node), force=True)
    assert "More." not in one.source.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "is no notebook"),
        (b"\xff\xfe", "is no notebook"),
        (b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "is no chapter's notebook"),
        (None, "cannot be read"),
    ],
)
def test_what_cannot_be_adopted_is_one_sentence(book, content, sentence):
    if content is not None:
        Path("x.ipynb").write_bytes(content)
    with pytest.raises(UserError, match=f"x.ipynb {sentence}") as said:
        texts.adopt(Path("x.ipynb"))
    assert len(str(said.value).splitlines()) == 1


def test_an_unknown_name_in_the_cell_of_parameters_is_a_sentence(book, inline):
    source = runner.chapter("ace").source
    source.write_text(source.read_text().replace("eps: float = 0.3", "epss: float = 0.3"))
    with pytest.raises(UserError, match=r"^epss is not a parameter of this chapter; did you mean eps\?"):
        runner.run(runner.chapter("ace"), {})


def test_a_run_s_parameter_cannot_be_set():
    p = notebook.begin("ace").p
    with pytest.raises(UserError, match="^eps cannot be set any more: .* in the cell that lists them"):
        p.eps = 0.2
    assert p.eps == 0.3 and Parameters.resolve({"data": "digits", "n_images": 1}).seed == 0
