"""Every test has a store of its own and no real data; `book` is a small book whose one chapter runs in a few
seconds.
"""

import textwrap

import pytest

HEADER = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# A small chapter

```{code-cell} ipython3
:tags: [parameters]

profile: str = "quick"
eps: float = 0.3
n_images: int = None
data: str = None
device: str = "auto"
```
"""
BEGIN = 'from causalnb.notebook import begin\nfrom causalnb.statistics import exact\nrun = begin("ace")'
MEASURE = (
    'run.section("one")\nrun.measure("small.eps", exact(run.p.eps), what="the budget")\nrun.values("small.*")'
)


def text(*cells):
    return HEADER + "".join(f"\n```{{code-cell}} ipython3\n{textwrap.dedent(cell)}\n```\n" for cell in cells)


@pytest.fixture(autouse=True)
def alone(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CAUSALNB_STORE", str(home / "store"))
    monkeypatch.setenv("CAUSALNB_DATA", str(home / "data"))
    monkeypatch.delenv("CAUSALNB_RECORD", raising=False)
    monkeypatch.setenv("CAUSALNB_QUIET", "")
    return home


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A function that writes the chapter's cells (default: begin, one measurement, finish) and returns the
    book's folder; it has these cells.
    """
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: x\n")
    monkeypatch.chdir(tmp_path)

    def write(*cells):
        (tmp_path / "notebooks" / "01_ace.md").write_text(text(*(cells or (BEGIN, MEASURE, "run.finish()"))))
        return tmp_path

    write.begin, write.measure = BEGIN, MEASURE
    write()
    return write
