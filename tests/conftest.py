"""Every test has a store of its own and no real data; `book` is a small book whose one chapter runs in a few
seconds. What was executed of the real chapters, and how often, is told at the end.
"""

import functools
import os
import textwrap
from collections import Counter
from types import SimpleNamespace

import pytest

from causalnb import kernel, ledger

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
MEASURE = 'run.section("one")\nrun.measure("small.eps", exact(run.p.eps), data="", what="the budget")\nrun.values("small.*")'


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


EXECUTIONS = "test_execution.py"


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder that all processes of this test run share; what is made in it needs a lock."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture
def counted(record_property):
    """A function that tells the summary of a notebook's execution."""
    return lambda name, how, seconds: record_property("executed", (name, how, seconds))


def pytest_terminal_summary(terminalreporter):
    """Which notebooks were executed, how, how often, and in how many seconds each time."""
    told = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "executed"
    ]
    if told:
        terminalreporter.section("notebooks executed")
    for (name, how), times in sorted(Counter((name, how) for name, how, _ in told).items()):
        seconds = " ".join(f"{s:.0f} s" for *what, s in told if what == [name, how])
        terminalreporter.line(f"{name}  {times} x {how}: {seconds}")


def pytest_collection_modifyitems(config, items):
    """In a worker: executions first, for they are the longest, then files with many tests."""
    if hasattr(config, "workerinput"):
        size = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path.name != EXECUTIONS, -size[item.path]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Under --dist loadfile the executions of each chapter count as a file of their own."""
    from xdist.scheduler import LoadFileScheduling

    class ByChapter(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return file + nodeid[nodeid.rfind("[") :] if file.endswith(EXECUTIONS) else file

    if config.getoption("dist") == "loadfile":
        config.option.loadscopereorder = False
        return ByChapter(config, log)
    return None


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

    write.begin, write.measure, write.text = BEGIN, MEASURE, text
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
