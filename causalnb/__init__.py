"""The helper package of a book that reproduces papers on causality and adversarial examples.

Floors (a module imports only from floors below its own; `tests/test_floors.py` holds that):
11 cli, 10 book, 9 sweep, 8 runner, 7 notebook, 6 chapters, 5 attacks, 4 training, detection, fragments,
3 data, models, ledger and texts, 2 store and places, 1 record, kernel, plots and processes, 0 statistics,
parameters, figstyle, console, files, kinds, lazy, paths, randomness, usage and vision.
"""

__version__ = "0.6.0"


class UserError(Exception):
    """Something the user can mend: its text is one sentence that says what happened, where, and what to do.

    Jupyter and papermill show that sentence alone, without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        return [str(self)]
