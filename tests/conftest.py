"""Every test has a store of its own and no real data; `book` is a small book whose one chapter runs in a few
seconds.
"""

import functools
import os
import textwrap
from types import SimpleNamespace

import pytest

from causalnb import UserError, kernel, ledger

loaded = functools.cache(ledger.load)

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


class Shell:
    """What the package knows of IPython's shell in a kernel."""

    def __init__(self):
        self.kernel, self.user_ns = self, {}
        self.history_manager = SimpleNamespace(input_hist_raw=[])

    def set_custom_exc(self, kinds, handler):
        pass


@pytest.fixture
def inline(monkeypatch):
    """papermill injects and executes, but the cells run in this process: no kernel has to start."""
    import nbformat
    import papermill

    inject = papermill.execute_notebook

    def execute(node, output, parameters=None, **_):
        inject(node, output, parameters=parameters, prepare_only=True, kernel_name="python3")
        shell = Shell()
        monkeypatch.setattr(kernel, "shell", lambda: shell)
        code = [cell for cell in nbformat.read(output, as_version=4).cells if cell.cell_type == "code"]
        for count, cell in enumerate(code, 1):
            shell.history_manager.input_hist_raw.append(cell.source)
            try:
                exec(cell.source, shell.user_ns)
            except Exception as error:
                raise papermill.PapermillExecutionError(
                    count, count, cell.source, type(error).__name__, str(error), []
                ) from error

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    monkeypatch.setattr(ledger, "load", loaded)
    return execute


def fork(work, *, before=lambda: None):
    """Start `work` in a child process, after `before`; a function that waits for its end and says how that was:
    "done", the sentence of a UserError, or None where it was killed. Anything else is an error here.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            before()
            work()
            said = "done"
        except UserError as error:
            said = str(error)
        except BaseException as error:
            said = f"TRACEBACK {error!r}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)

    def end():
        with os.fdopen(read) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        assert not said.startswith("TRACEBACK"), said
        return said or None

    return end


def forked(work, *, before=lambda: None):
    """`fork`, and wait."""
    return fork(work, before=before)()
