"""The helper package of a book that reproduces papers on causality and adversarial examples.

Floors (a module imports only from floors below its own; `tests/test_floors.py` holds that):
9 cli, 8 book, 7 runner, 6 notebook, 5 chapters, 4 attacks, 3 training and fragments, 2 data, models and ledger,
1 store and record, 0 statistics, parameters, figstyle, console, paths and processes.
"""

__version__ = "0.1.0"


class UserError(Exception):
    """Something the user can mend: its text is one sentence that says what happened, where, and what to do.

    Jupyter and papermill show that sentence alone, without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        return [str(self)]
