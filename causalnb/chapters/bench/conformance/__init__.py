"""The table of every attack against 15 lines that an attack must hold, measured when it is asked for.

    from causalnb.chapters.bench.conformance import conformance
    for line in conformance(["pgd", "cw"]):
        print(line.attack, line.number, line.word, line.sentence)

Lines 1, 2, 5, 6, 13, 15 (promises.py) hold whatever is found; 3, 4, 7 to 12 (strength.py) are about what is
found; 14 is one line for `evaluate`. What an attack cannot hold by its nature is exempt for a reason, and
only when its number says so; lines 2, 5, 6, 13 and 15 know no exemption. Models and settings are toys
(cases.py): nothing here says how robust anything is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from causalnb.attacks.contract import ATTACKS
from causalnb.chapters.bench.conformance import promises, strength
from causalnb.chapters.bench.conformance.cases import ConformanceCase, Outcome

LINES = dict(sorted((promises.LINES | strength.LINES).items()))
TITLES = {
    1: "alone or in any batch",
    2: "state untouched",
    3: "scale of the logits",
    4: "softmax heads",
    5: "failure is the clean image",
    6: "box, ball, clean errors",
    7: "known optimum",
    8: "planted and unbreakable",
    9: "more is never less",
    10: "path crosses the ball",
    11: "border pixels move",
    12: "rival of another library",
    13: "targets, few classes",
    14: "interrupted and resumed",
    15: "nan spoils one image",
}
BINDING = (2, 5, 6, 13, 15)

_BATCH = "draws for a whole batch at once"
_SATURATES = "the cross-entropy saturates in float32 and leaves no gradient"
_NO_BALL = "looks for the nearest boundary, not inside a ball"
_PLACEBO = "the placebo does not aim"
_QUERIES = "sees no gradient and has few queries here"
_OWN = "no other library here has the threat model"
EXEMPTIONS = {
    (1, "apgd-ce"): _BATCH,
    (1, "apgd-dlr"): _BATCH,
    (1, "apgd-t"): _BATCH,
    (1, "square"): _BATCH,
    (1, "autoattack"): _BATCH,
    (3, "fgsm"): _SATURATES,
    (3, "bim"): _SATURATES,
    (3, "pgd"): _SATURATES,
    (3, "apgd-ce"): _SATURATES,
    (3, "transfer"): _SATURATES,
    (3, "ddn"): "follows the cross-entropy, which at another scale leads to another class",
    (7, "square"): "random search does not end at an optimum",
    (7, "stadv"): "moves pixels instead of changing them",
    (7, "noise"): _PLACEBO,
    (8, "hsj"): _QUERIES,
    (8, "square"): _QUERIES,
    (8, "stadv"): "flows have no ball of pixels",
    (8, "noise"): _PLACEBO,
    (10, "fgsm"): "one step from the clean image",
    (10, "deepfool"): _NO_BALL,
    (10, "fab-t"): _NO_BALL,
    (10, "noise"): "takes no steps",
    (11, "noise"): _PLACEBO,
    (12, "stadv"): _OWN,
    (12, "noise"): _PLACEBO,
}


@dataclass(frozen=True)
class Line:
    """One attack at one line: what was found, the number, and what it says."""

    attack: str
    number: int
    word: Literal["pass", "fail", "exempt"]
    value: float
    sentence: str


def conformance(names: Iterable[str] | None = None) -> list[Line]:
    """Each attack of ATTACKS (or those named) at each line but 14, and `evaluate` at 14, which is there when
    all are asked for.
    """
    lines = [
        _judged(name, number, line(case))
        for name in names or ATTACKS
        for case in [ConformanceCase(name)]
        for number, line in LINES.items()
    ]
    return lines if names else [*lines, _judged("evaluate", 14, promises.resumes())]


def _judged(name: str, number: int, outcome: Outcome) -> Line:
    reason = EXEMPTIONS.get((number, name))
    if outcome.good or reason is None or number in BINDING or not outcome.excusable:
        return Line(name, number, "pass" if outcome.good else "fail", outcome.value, outcome.says)
    return Line(name, number, "exempt", outcome.value, f"{reason}: {outcome.says}")
