"""What the record holds of the chapter from pixels: the paper's tables and claims on our network. Each count
stands in three rows: all attempts, successes, and attempts on images that the network gets right.

Detection rates are rates.py's, the replay's counts the replay's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from causalnb.chapters.counterfactual import attacked, detectors, experiments
from causalnb.chapters.counterfactual.attacked import LARGER, LARGEST, PAPERS, SETS, SPARSE, Condition
from causalnb.chapters.counterfactual.estimates import extreme, median, ratio
from causalnb.chapters.counterfactual.experiments import ROWS, Detectives, Shown
from causalnb.chapters.counterfactual.heatmaps import heat_maps, overlap
from causalnb.chapters.counterfactual.networks import Net, Run
from causalnb.chapters.counterfactual.seams import seam
from causalnb.chapters.counterfactual.strategies import PAIRS
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, mean, proportion

Found = Mapping[Condition, Shown]
CLEAN = ("all", "correct")
TAU = 0.5
TOP, MANY = 5, 100  # Table 1's five of a thousand classes, and how many classes are enough for that


def share(run: Run, kind: str, mask: Tensor, among: Tensor, **parts: Any) -> Estimates:
    """A share with its interval at the level that its rows ask for; nothing where it is of no image."""
    id, n = MeasurementId.of(kind, **parts), int(among.sum())
    hits = int((mask & among).sum())
    return {id: proportion(hits, n, level=run.level(id), seeds=(run.p.seed,))} if n else {}


def average(run: Run, kind: str, values: Tensor, **parts: Any) -> Estimates:
    """A mean over images with a bootstrap; nothing where there are none."""
    id = MeasurementId.of(kind, **parts)
    asked: dict[str, Any] = {"level": run.level(id), "seed": run.p.seed, "seeds": (run.p.seed,)}
    return {id: mean(values.double().numpy(), **asked)} if len(values) else {}


def accuracy(run: Run, net: Net, network: str = "") -> Estimates:
    """On the whole test set, of the rounded weights."""
    id = MeasurementId.of("control", what="accuracy", data=net.name, network=network)
    return {id: proportion(*net.accuracy, level=run.level(id), seeds=(run.p.seed,))}


# Tables 2 and 3 ------------------------------------------------------------------------------------------


def counts(run: Run, has: Detectives, found: Found, network: str = "") -> Estimates:
    """Tables 2 and 3 at 24: images that strategies 2 and 3 accept. Strategy 3 by CI as published code
    computes it, in float32, and by CI without rounding.
    """
    made: Estimates = {}
    for name, seen, rows in _sets(has, found, LARGEST):
        for which, among in rows.items():
            parts = {"data": has.net.name, "set": name, "network": network, "rows": which}
            made |= share(run, "t2", seen["S2.rho"] <= -TAU, among, **parts)
            for n in (5, 10):
                for how, score in (("float32", "float32.S3.0"), ("exact", "S3.0")):
                    made |= share(run, f"t3n{n}", seen[score] <= -n, among, **parts, precision=how)
    return made


def _sets(
    has: Detectives, found: Found, eps: float, *, clean: bool = True
) -> Iterator[tuple[str, Mapping[str, Tensor], Mapping[str, Tensor]]]:
    """The name of each set of images, its scores, and its rows."""
    n = len(has.net.attacked)
    if clean:
        scores = {name: one[:n] for name, one in has.test.scores.items()}
        yield "clean", scores, {which: has.clean(which) for which in CLEAN}
    for name in SETS:
        if (one := found.get(Condition(name, eps))) is not None:
            yield name, one.seen.scores, one.rows


# Strategy 1 ----------------------------------------------------------------------------------------------


def no_features(run: Run, has: Detectives, found: Found) -> Estimates:
    """Images without a causal filter, in float32 as published code computes CI, and without rounding: BIM at
    8 and 4 (T1, T2), PGD at 16 (T3).
    """
    asked = {"T1": ("bim", PAPERS), "T2": ("bim", SPARSE), "T3": ("pgd", LARGER)}
    made: Estimates = {}
    for claim, (attack, eps) in asked.items():
        for way in "tu":
            one = found[Condition(f"{attack}_{way}", eps)]
            for which in ROWS:
                for how, score in (("float32", "float32.S1"), ("exact", "S1")):
                    parts = {"data": has.net.name, "set": f"{attack}_{way}", "precision": how, "rows": which}
                    none = one.seen.scores[score] >= 0
                    made |= share(run, "claim", none, one.rows[which], claim=claim, **parts)
    return made


def turned(run: Run, has: Detectives, found: Found) -> Estimates:
    """The share of an image's filters that FGSM at 8 turns from causal to not, or back."""
    made: Estimates = {}
    before = vectors(has, clean_outputs(has))
    for name in ("fgsm_t", "fgsm_u"):
        one = found[Condition(name, PAPERS)]
        changed = ((before > 0) != (vectors(has, one.seen.outputs) > 0)).double().mean(1)
        for which in ROWS:
            values = changed[one.rows[which]]
            made |= average(run, "claim", values, claim="turned", data=has.net.name, set=name, rows=which)
    return made


def clean_outputs(has: Detectives) -> Tensor:
    """What the head shows of the attacked images before the attack."""
    return has.test.outputs[: len(has.net.attacked)]


def vectors(has: Detectives, outputs: Tensor) -> Tensor:
    """CI [n, filters]."""
    return has.head.information(outputs).ci


# Strategies 2 to 4 ---------------------------------------------------------------------------------------


def rejected_by_rho(run: Run, has: Detectives, found: Found) -> Estimates:
    """T7: targeted FGSM at 8, images with rho < 0.5; of many classes, as the paper has on ImageNet, those
    whose class is not among the best five.
    """
    one = found[Condition("fgsm_t", PAPERS)]
    many = len(has.known.classes) >= MANY
    low = one.seen.scores["S2.rank"] > TOP if many else one.seen.scores["S2.rho"] > -TAU
    made: Estimates = {}
    for which in ROWS:
        made |= share(run, "claim", low, one.rows[which], claim="T7", data=has.net.name, rows=which)
    return made


def among_the_best(run: Run, has: Detectives, found: Found) -> Estimates:
    """Table 1 at 8: images whose class is among the five whose prototypes correlate best; of many classes
    alone. It is the paper's rule on other images than the paper's, and decides no row.
    """
    made: Estimates = {}
    for name, seen, rows in _sets(has, found, PAPERS) if len(has.known.classes) >= MANY else ():
        for which, among in rows.items():
            near = seen["S2.rank"] <= TOP
            made |= share(run, "t1", near, among, data=has.net.name, set=name, rows=which)
    return made


def best_prototype(run: Run, has: Detectives, found: Found) -> Estimates:
    """How much more often the predicted class's prototype correlates best on clean images than on attacked
    ones at 8, on the same images.
    """
    n = len(has.net.attacked)
    before = has.test.scores["S2.rank"][:n] == 1
    made: Estimates = {}
    for name, seen, rows in _sets(has, found, PAPERS, clean=False):
        change = before.double() - (seen["S2.rank"] == 1).double()
        values = change[rows["correct"]]
        made |= average(run, "control", values, what="argmax", data=has.net.name, set=name)
    return made


def zero_filters(run: Run, has: Detectives, found: Found, network: str = "") -> Estimates:
    """T10: zero filters at 24 less those of the clean image; and how many of those that were zero then are so
    no more ("all attacks attempt to exploit").
    """
    n = len(has.net.attacked)
    still = vectors(has, clean_outputs(has)) == 0
    made: Estimates = {}
    for name, seen, rows in _sets(has, found, LARGEST, clean=False):
        moved = vectors(has, found[Condition(name, LARGEST)].seen.outputs) != 0
        gone = (moved & still).sum(1).double() / still.sum(1).clamp_min(1)
        for which, among in rows.items():
            parts = {"data": has.net.name, "set": name, "network": network, "rows": which}
            for how, score in (("float32", "float32.S3.0"), ("exact", "S3.0")):
                change = has.test.scores[score][:n] - seen[score]
                made |= average(run, "claim", change[among], claim="T10", **parts, precision=how)
            had = among & still.any(1)
            made |= average(run, "claim", gone[had], claim="exploit", **parts)
    return made


def common_features(run: Run, has: Detectives, found: Found) -> Estimates:
    """Fig. 3 and T11 at 8: images that strategy 4 accepts, of 300; how many times more clean ones; how far
    attacks differ; the least of the three differences between clean and attacked.
    """
    made: Estimates = {}
    clean = has.clean()
    names = [name for name in SETS if Condition(name, PAPERS) in found]
    pairs = [(n, m) for n, m in PAIRS if m <= has.head.filters]
    for rule in ("containment", "meeting"):
        tables = []
        for n, m in pairs:
            size, least = f"{n}_{m}", n if rule == "containment" else 1
            before = has.test.scores[f"S4.{size}"][: len(clean)] <= -least
            each = [found[Condition(name, PAPERS)].seen.scores[f"S4.{size}"] <= -least for name in names]
            table = torch.stack([before, *each], 1).double()[clean]
            parts = {"data": has.net.name, "size": size, "rule": rule}
            k, total = table.sum(0).long().tolist(), len(table)
            for what, hits, of in (("clean", k[0], total), ("adv", sum(k[1:]), total * len(names))):
                id = MeasurementId.of("f3", data=has.net.name, set=what, size=size, rule=rule)
                made[id] = of_300(proportion(hits, of, level=run.level(id), seeds=(run.p.seed,)))
            if (n, m) == PAIRS[-1]:
                id = MeasurementId.of("claim", claim="T11", data=has.net.name, rule=rule)
                made[id] = ratio((k[0], total), (sum(k[1:]), total * len(names)), level=run.level(id))
            id = MeasurementId.of("claim", claim="similar", **parts)
            made[id] = extreme(table[:, 1:].numpy(), "range", level=run.level(id), seed=run.p.seed)
            tables.append(table[:, 0] - table[:, 1:].mean(1))
        id = MeasurementId.of("figure", n="3", data=has.net.name, rule=rule)
        made[id] = extreme(torch.stack(tables, 1).numpy(), "least", level=run.level(id), seed=run.p.seed)
    return made


def of_300(one: Estimate) -> Estimate:
    """A share as a count of 300 images, as Fig. 3's text prints it."""
    low, high = one.ends
    value, low, high = (300 * end for end in (one.value, low, high))
    return replace(one, value=value, low=low, high=high, method="wilson x 300", unit="of 300")


# Table 4 -------------------------------------------------------------------------------------------------


def recovered(run: Run, has: Detectives, found: Found) -> Estimates:
    """Images whose true label a defence brings back: Table 4 at 8, all attempts; the same over budgets, in
    every row; and what the defence costs clean images, which the paper does not say.

    T12 is the largest share of Table 4's, its interval at the level that is right for all of them together.
    """
    made: Estimates = {}
    net, tables = has.net, []
    labels = net.attacked.labels
    for eps in run.p.budgets:
        for name, _, rows in _sets(has, found, eps, clean=False):
            images = detectors.eight_bits(found[Condition(name, eps)].result.candidates.cpu())
            back = {way: one == labels for way, one in experiments.defended(run, net, images).items()}
            for way, hits in back.items():
                parts = {"data": net.name, "way": way, "set": name}
                for which, among in rows.items():
                    made |= share(run, "recovered", hits, among, **parts, eps=f"{eps:g}", rows=which)
                if eps == PAPERS:
                    made |= share(run, "t4", hits, rows["all"], **parts)
                    tables.append((int(hits.sum()), len(hits)))
    clean = experiments.defended(run, net, net.attacked.images)
    for way, classes in clean.items():
        made |= share(
            run, "recovered", classes == labels, has.clean("all"), data=net.name, way=way, set="clean"
        )
    id = MeasurementId.of("claim", claim="T12", data=net.name, what="largest")
    return made | {id: largest(tables, level=run.level(id))}


def largest(counts: Sequence[tuple[int, int]], *, level: float) -> Estimate:
    """The largest of several shares (k, n): at once with the level asked for each of them holds its own."""
    each = [proportion(k, n, level=1 - (1 - level) / len(counts)) for k, n in counts]
    value, low, high = (max(one.interval[end] for one in each) for end in range(3))
    return Estimate(value, low, high, level, f"largest of {len(counts)}, wilson", counts[0][1])


# Section 4.4 and the set-up ------------------------------------------------------------------------------


def confidence(run: Run, has: Detectives, found: Found) -> Estimates:
    """The median probability of clean images ("natural images should be predicted with high probability"), of
    untargeted FGSM at 8 beside it, and the share of these below one half.
    """
    made: Estimates = {}
    for which in CLEAN:
        among = has.correct if which == "correct" else torch.ones_like(has.correct)
        id = MeasurementId.of("claim", claim="natural", data=has.net.name, rows=which)
        made[id] = median(_sureness(has.test.scores["softmax"])[among].numpy(), level=run.level(id))
    one = found[Condition("fgsm_u", PAPERS)]
    for which in ROWS:
        sure, parts = _sureness(one.seen.scores["softmax"]), {"data": has.net.name, "rows": which}
        made |= share(run, "low", sure < 0.5, one.rows[which], **parts)
        if int(one.rows[which].sum()):
            id = MeasurementId.of("low", what="median", **parts)
            made[id] = median(sure[one.rows[which]].numpy(), level=run.level(id))
    return made


def _sureness(score: Tensor) -> Tensor:
    """P from the score that is minus its log-odds."""
    return (-score).sigmoid()


def more_efficient(run: Run, has: Detectives, found: Found) -> Estimates:
    """How many more images PGD and BIM mislead than FGSM at 8, of those that are right."""
    made: Estimates = {}
    for attack in ("pgd", "bim"):
        for way in "tu":
            one, other = (found[Condition(f"{name}_{way}", PAPERS)] for name in (attack, "fgsm"))
            change = one.rows["successes"].double() - other.rows["successes"].double()
            values, parts = change[has.clean()], {"data": has.net.name, "attack": attack, "way": way}
            made |= average(run, "claim", values, claim="efficient", **parts)
    return made


def success(run: Run, has: Detectives, found: Found) -> Estimates:
    """How many of the images that are right each attack misleads, and how many reach their target."""
    made: Estimates = {}
    for of, one in found.items():
        parts = {"data": has.net.name, "set": of.name, "eps": f"{of.eps:g}"}
        made |= share(run, "success", one.rows["successes"], one.rows["correct"], **parts)
        if of.targeted:
            made |= share(run, "reached", one.reached, one.rows["correct"], **parts)
    return made


# Heat maps -----------------------------------------------------------------------------------------------


def maps_kept(run: Run, has: Detectives, found: Found) -> Estimates:
    """T19: intersection over union of the brightest fifth of the heat map before an attack at 8 and after,
    each by the prototype of the class predicted there; and the same under noise.
    """
    made: Estimates = {}
    clean = has.net.attacked.images
    noise = attacked.placebo(clean, "noise", eps=run.p.eps(PAPERS), seed=run.p.seed)
    others = {name: found[Condition(name, PAPERS)].result.candidates.cpu() for name in SETS} | {
        "noise": noise
    }
    before = heat(run, has, clean)
    for name, images in others.items():
        kind, first = ("heat", {}) if name == "noise" else ("claim", {"claim": "T19"})
        values = overlap(before, heat(run, has, images))
        rows = {"correct": has.clean()} if name == "noise" else found[Condition(name, PAPERS)].rows
        for which, among in rows.items():
            made |= average(run, kind, values[among], **first, data=has.net.name, set=name, rows=which)
    return made


def heat(run: Run, has: Detectives, images: Tensor) -> Tensor:
    """Heat maps [n, height, width] of images rounded to 8 bits."""
    asked = seam(has.net.model, has.net.layer)
    images, made = detectors.eight_bits(images), []
    at = detectors.prototypes_of(has.known)["ci"]
    for some in images.split(200):
        outputs = has.head.of(some)
        with torch.no_grad():
            a = asked.activations(some.to(run.device)).cpu()
        made.append(heat_maps(a, at.of(has.head.logits(outputs).argmax(1)) > 0))
    return torch.cat(made)


def pictured(
    run: Run, has: Detectives, found: Found, n: int = 4
) -> tuple[list[str], dict[str, tuple[Tensor, Tensor]]]:
    """The first images, clean and under untargeted PGD at 8, with their heat maps: names, and rows for
    `figures.heat`.
    """
    few = has.net.attacked.take(slice(n))
    moved = found[Condition("pgd_u", PAPERS)].result.candidates[:n].cpu()
    rows = {"clean": few.images, "attacked": detectors.eight_bits(moved)}
    names = [few.classes[int(label)] for label in few.labels]
    return names, {what: (images, heat(run, has, images)) for what, images in rows.items()}


def everything(run: Run, has: Detectives, found: Found) -> Estimates:
    """All of the above on the chapter's network."""
    parts = (
        counts,
        no_features,
        turned,
        rejected_by_rho,
        among_the_best,
        best_prototype,
        zero_filters,
        common_features,
        recovered,
        confidence,
        more_efficient,
        success,
        maps_kept,
    )
    made = accuracy(run, has.net)
    for one in parts:
        made |= one(run, has, found)
    return made


def of_second(run: Run, has: Detectives, found: Found) -> Estimates:
    """What is asked of the second network, in the author's order: strategies 2 and 3 at 24, where zeros are
    what Table 3 counts.
    """
    made = accuracy(run, has.net, network="author")
    return made | counts(run, has, found, "author") | zero_filters(run, has, found, "author")
