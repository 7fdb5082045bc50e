"""On how many images the abstract's six numbers may rest: whether a printed percentage is a share of so many
answers, to its rounding. Nothing here judges an accuracy.
"""

import math
from collections.abc import Sequence

ATTACKS, IMAGES = 3, 512
ROUNDING = 0.005  # half of the last printed digit, percent
SLACK = 1e-9


def fits(printed: float, answers: int, *, rounding: float = ROUNDING) -> bool:
    """Whether some whole number of answers makes the printed percentage, to its rounding.

    >>> fits(56.25, 512), fits(86.39, 512), fits(86.39, 3 * 512)
    (True, False, True)
    """
    nearest = round(printed * answers / 100)
    return abs(100 * nearest / answers - printed) <= rounding + SLACK


def sizes(printed: Sequence[float], up_to: int, *, rounding: float = ROUNDING) -> list[int]:
    """The numbers of images for which all of the means over three attacks fit."""
    return [
        n for n in range(1, up_to + 1) if all(fits(one, ATTACKS * n, rounding=rounding) for one in printed)
    ]


def always_from() -> int:
    """The number of images from which every percentage of two decimals fits a mean over three attacks."""
    return math.ceil(100 / (2 * ROUNDING) / ATTACKS)
