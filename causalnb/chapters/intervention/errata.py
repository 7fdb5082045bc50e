"""Statements that Coppola & Lee 2024 print, put to the paper's own logic: whether each holds as printed.

Read from a conversion of the PDF, which may lose ! and '. What the text resolves itself, and notes on the
method, are remarks and controls of the ledger.
"""

import math

import torch

from causalnb.chapters import Check
from causalnb.chapters.intervention import checks, closed_forms, significance
from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention.metrics import effects


def by_logic() -> list[Check]:
    """All of them, in the order of the text."""
    return [
        the_number_of_sets(),
        attacked_features(),
        sets_of_aea(),
        less_than_nothing(),
        the_usual_threshold(),
    ]


def printed_number_of_sets(channels: int, size: int) -> float:
    """H / (gamma! (H - gamma)!), as printed (3.1).

    >>> f"{printed_number_of_sets(16, 3):.4e}"
    '4.2824e-10'
    """
    return channels / (math.factorial(size) * math.factorial(channels - size))


def the_number_of_sets() -> Check:
    """E1: |Omega^gamma| = H / (gamma! (H - gamma)!), against the sets themselves."""
    counted = {size: len(sets_.of_size(16, size)) for size in range(1, 17)}
    right = sum(math.isclose(printed_number_of_sets(16, size), n) for size, n in counted.items())
    what = "sizes of 16 channels at which the printed formula counts the sets"
    return Check("erratum.E1", what, right, len(counted), right == len(counted), len(counted))


def attacked_features() -> Check:
    """E2: h' = g_A(x). Then nothing is ever swapped, and every effect is 0."""
    model, clean, attacked, labels = checks.small()
    alone = sets_.of_size(16, 1)
    printed = effects(model, "conv1", clean, clean, labels, alone).ael
    meant = effects(model, "conv1", clean, attacked, labels, alone).ael
    differ = int(((printed - meant).abs() > 1e-9).sum())
    what = "channels whose effect is another one by the printed h' = g_A(x)"
    return Check("erratum.E2", what, differ, 0, differ == 0, len(alone))


def sets_of_aea() -> Check:
    """E3: AEL_{j-k} = {AEA_Phi}. The maps of both differ, here where each channel has an effect of its own
    and one flips the class.
    """
    held = sets_.of_size(16, 3)
    strengths = torch.tensor([10.0, *torch.linspace(0.2, 0.5, 15).tolist()])
    found = closed_forms.swapped(closed_forms.planted(strengths), 16, held)
    maps = [significance.rank_sum_map(one, held, 16) < significance.RED for one in (found.ael, found.aea)]
    differ = int((maps[0] != maps[1]).triu(1).sum())
    what = "cells of the map, of 120, that have another colour by AEA than by AEL"
    return Check("erratum.E3", what, differ, 0, differ == 0, 120)


def less_than_nothing() -> Check:
    """E5: to "reduce the accuracy by more than -50 %": by Def. 3 the accuracy falls by AEA, and every set of
    every network does so, as no accuracy rises where all images are right.
    """
    held = sets_.every(16)[1:]
    found = closed_forms.swapped(closed_forms.planted(torch.full((16,), 1e-3)), 16, held)
    met = float((found.aea > -0.5).double().mean())
    what = "share of the sets of a network that no set breaks which reduce its accuracy by more than -50 %"
    return Check("erratum.E5", what, met, 0, met == 0, len(held))


def the_usual_threshold(usual: float = 0.10, coloured: float = significance.RED) -> Check:
    """E7: "the usual p-value threshold of 0.10", and red where p < 0.05 in the next sentence."""
    apart = usual - coloured
    what = "difference of the threshold called usual and the one that the maps are coloured by"
    return Check("erratum.E7", what, apart, 0, apart == 0, None)
