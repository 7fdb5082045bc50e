"""Statements that Debbi 2024 prints, put to the paper's own logic (`by_logic`) or to its published vectors
(`by_vectors`): whether each holds as printed.

What is ambiguous, slips that the text resolves, and what differs in the released code are remarks of the
ledger.
"""

from collections.abc import Mapping

import torch

from causalnb.chapters import Check
from causalnb.chapters.counterfactual import closed_forms, readings, strategies
from causalnb.chapters.counterfactual.filters import Filters, ci
from causalnb.chapters.counterfactual.printed import can_fall, count
from causalnb.chapters.counterfactual.prototypes import choose
from causalnb.chapters.counterfactual.replay import pictures, ties
from causalnb.chapters.counterfactual.replay.counts import ATTACKS
from causalnb.chapters.counterfactual.replay.vectors import load
from causalnb.data import Images

# By the paper's logic ------------------------------------------------------------------------------------


def by_logic(printed: Mapping[str, str]) -> list[Check]:
    """Those that need the printed tables alone: printed is the ledger's text of each cell, by row."""
    return [
        the_formula_of_s4(),
        the_counts_of_figure_3(printed),
        the_header_of_tables_1_and_2(printed),
        one_denominator_a_table(printed),
        zero_means_no_effect(),
        the_euclidean_norm(),
        pgd_escapes_every_strategy(printed),
        a_comparison_of_detectors(printed),
        bim_under_s4(printed),
    ]


def the_formula_of_s4() -> Check:
    """E1: adversarial "iff" the top sets meet. A prototype's top sets meet its own."""
    weights, bias, responses = closed_forms.drawn_head(n=20)
    found = ci(closed_forms.planted(weights, bias), closed_forms.images_of(responses), "relu")
    own = choose(found, found.classes)
    shared = strategies.common(own.ci, own.classes, own, n=3, m=10)
    flagged = float(shared.accepted("meeting").double().mean())
    return Check(
        "erratum.E1",
        "prototypes that the printed formula of strategy 4 calls adversarial",
        flagged,
        0,
        flagged == 0,
        len(own),
    )


def _figure_3(printed: Mapping[str, str], row: str) -> tuple[int, ...]:
    return tuple(int(printed[f"f3.{row}.{n}_{m}"]) for n, m in ((3, 10), (5, 20), (10, 30)))


def the_counts_of_figure_3(printed: Mapping[str, str]) -> Check:
    """E2: the counts are of images whose top sets "intersect", and cannot fall as both sets grow."""
    rows = [_figure_3(printed, row) for row in ("clean", "adv")]
    fall = sum(map(can_fall, rows))
    what = "rows of Fig. 3 that fall as n and m grow, which no count of sets that meet does"
    return Check("erratum.E2", what, fall, 0, fall == 0, len(rows))


def the_header_of_tables_1_and_2(printed: Mapping[str, str]) -> Check:
    """E3: the column is headed "Detection". The text detects all of BIM by it, and prints 0."""
    k, n = count(printed["t1.bim_t"])
    what = "share of targeted BIM in the column Detection of Table 1, all of which is detected"
    return Check("erratum.E3", what, k / n, 1, k == n, n)


def one_denominator_a_table(printed: Mapping[str, str]) -> Check:
    """E4: Table 3 has a cell "00/300" among 100 samples, Table 4 two of 100 among 300."""
    tables = [
        {count(text)[1] for id, text in printed.items() if id.startswith(start)} for start in ("t3", "t4.")
    ]
    most = max(map(len, tables))
    return Check("erratum.E4", "denominators in one table, 3 or 4", most, 1, most == 1, len(tables))


def zero_means_no_effect() -> Check:
    """E11: CI = 0, as computed in float32, "do not affect the prediction probability of the class at any
    way".
    """
    model, image = closed_forms.two_classes([1.0] * 20)
    removed, found = Filters(model, "relu").logits(image), ci(model, image, "relu")
    lost = (readings.subtracted(removed.whole, removed.without) == 0) & (found.ci > 0)
    share = float(lost.double().mean())
    what = "share of the equal votes that make a margin of 20 whose CI in float32 is 0"
    return Check("erratum.E11", what, share, 0, share == 0, lost.numel())


def the_euclidean_norm() -> Check:
    """E25: "the Euclidean norm || ||_inf"."""
    vector = torch.tensor([3.0, 4.0])
    apart = float(vector.norm() - vector.abs().max())
    return Check("erratum.E25", "Euclidean less largest-entry norm of (3, 4)", apart, 0, apart == 0, 1)


def pgd_escapes_every_strategy(printed: Mapping[str, str]) -> Check:
    """E28: PGD "succeeded to escape any detection strategy" at eps = 8, by the counts printed for eps = 8."""
    clean = {"t1": count(printed["t1.clean"])[0], "f3": _figure_3(printed, "clean")[2]}
    pgd = {"t1": count(printed["t1.pgd_t"])[0], "f3": _figure_3(printed, "adv")[2]}
    fewer = sum(pgd[name] < clean[name] for name in clean)
    what = "strategies of two that accept fewer images of targeted PGD than clean ones"
    return Check("erratum.E28", what, fewer, 0, fewer == 0, len(clean))


def a_comparison_of_detectors(printed: Mapping[str, str]) -> Check:
    """E29: "Comparison with some detection methods". A detector has a rate on clean images; Table 4 counts
    recovered labels and has no clean row.
    """
    clean = sum("clean" in id for id in printed if id.startswith("t4."))
    what = "rows of Table 4 that tell what the methods do to clean images"
    return Check("erratum.E29", what, clean, 1, clean > 0, None)


def bim_under_s4(printed: Mapping[str, str]) -> Check:
    """E30: "all the attacks yield similar values" under strategy 4, BIM among them, which has no causal
    features.
    """
    weights, bias, responses = closed_forms.drawn_head(n=20)
    found = ci(closed_forms.planted(weights, bias), closed_forms.images_of(responses), "relu")
    own = choose(found, found.classes)
    shared = strategies.common(torch.zeros_like(own.ci), own.classes, own, n=3, m=10)
    accepted = int(shared.accepted("meeting").sum())
    least = min(_figure_3(printed, "adv"))
    what = "images without causal features that strategy 4 accepts, against the least printed count"
    return Check("erratum.E30", what, accepted, least, accepted >= least, len(own))


# By the published vectors --------------------------------------------------------------------------------


def by_vectors(printed: Mapping[str, str]) -> list[Check]:
    """Those that need the published vectors; printed as above, for the caption of Table 3."""
    return [
        higher_than_n(printed),
        ci_of_its_own_image(),
        rows_of_adversarial_examples(),
        zeros_whatever_the_spread(),
    ]


def higher_than_n(printed: Mapping[str, str]) -> Check:
    """E5: "samples having higher than n zero filters". At n = 10 that misses counts that "at least" gives."""
    zeros = {attack: strategies.zeros(load(f"cifar.{attack}").ci) for attack in ATTACKS}
    fits = sum(int((zeros[a] > 10).sum()) == count(printed[f"t3n10.{a}"])[0] for a in ATTACKS)
    what = "attacks of Table 3 at n = 10 whose printed count is that of more than 10 zero filters"
    return Check("erratum.E5", what, fits, len(ATTACKS), fits == len(ATTACKS), len(ATTACKS))


def ci_of_its_own_image() -> Check:
    """E10: a CIFAR vector is P - P' of its image. Two records of one image differ by the CI of filter 511."""
    pairs = [one for attack in ATTACKS for one in ties.twice(load(f"cifar.{attack}"))]
    shifted = sum(abs(one.shift) > ties.SAME and abs(one.shift - one.expected) <= ties.SAME for one in pairs)
    what = "CIFAR images with two records in one file that differ by the CI of filter 511, in every filter"
    return Check("erratum.E10", what, shifted, 0, shifted == 0, len(pairs))


def rows_of_adversarial_examples() -> Check:
    """E16: the rows of Tables 2 and 3 are of adversarial examples, which change the prediction (1). Keys tell
    that many did not.
    """
    kept = {a: int((load(f"cifar.{a}").labels == load(f"cifar.{a}").classes).sum()) for a in ATTACKS}
    total = sum(len(load(f"cifar.{attack}")) for attack in ATTACKS)
    what = "published CIFAR images of the six attacks that are predicted as their own class"
    return Check("erratum.E16", what, sum(kept.values()), 0, not any(kept.values()), total)


def zeros_whatever_the_spread() -> Check:
    """E27: zero filters are "non-causal features". On CIFAR they are ties of float32: there are none where CI
    spreads.
    """
    found = ties.ties()
    what = "vectors with at least 5 zero filters among those whose CI spreads by 3e-5 or more"
    return Check("erratum.E27", what, found.of_many, 1, found.of_many > 0, found.spread)


def by_pictures(test: Images) -> list[Check]:
    """Those that need the published pictures and CIFAR-10's test set."""
    read = {name: pictures.read(name) for name in pictures.FOLDERS}
    same, common = pictures.equal(read["bim"], read["pgd"])
    budget = {name: int(pictures.change(read[name], test).largest.min()) for name in ("bim", "pgd")}
    least, eps = min(budget.values()), 24
    return [
        Check(
            "erratum.E13",
            "pictures of untargeted BIM and PGD that are equal pixel for pixel",
            same,
            0,
            same < common,
            common,
        ),
        Check(
            "erratum.E14",
            "least largest change of a BIM or PGD picture, in 1/255; the budget is 24",
            least,
            eps,
            least == eps,
            sum(len(read[name]) for name in budget),
        ),
    ]
