"""Many executions of one chapter over values of its parameters: what is asked, how it is
executed, what it says.
"""

from causalnb.sweep.points import from_file, listed, product, safe
from causalnb.sweep.running import Outcome, Sweep, run
from causalnb.sweep.said import Flip, Said, compare, find

__all__ = [
    "Flip",
    "Outcome",
    "Said",
    "Sweep",
    "compare",
    "find",
    "from_file",
    "listed",
    "product",
    "run",
    "safe",
]
