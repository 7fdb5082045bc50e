"""What the record holds: experiments in, estimates out by measurement id, each interval at the level that its
row asks for.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import stdev
from typing import Any, cast

import torch
from torch import Tensor

from causalnb.attacks import AttackResult
from causalnb.chapters.ace import claims
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.networks import Latents, Run, Trained
from causalnb.chapters.ace.readings import key_parts
from causalnb.chapters.ace.specifications import COMPARISONS
from causalnb.chapters.ace.strength import Point
from causalnb.chapters.ace.truth import Corner
from causalnb.ledger import Ledger, TableRule, ranked
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, exact, mean, proportion, summaries


def accuracies(
    run: Run, nets: Mapping[str, Trained], others: Mapping[str, dict[str, list[Trained]]]
) -> Estimates:
    """Test accuracy of the attacked network, as printed number and as the control of the rows that its
    attacks decide; of all other trainings.

    others   data set -> recipe -> trainings, from `networks.others`
    """
    found: Estimates = {}
    for name, net in nets.items():
        n, own = len(run.load(name)), "momentum" if run.p.momentum else "plain"
        each = others[name] | {own: [net, *others[name]["plain"]]}
        ids = {MeasurementId.of("control", what="accuracy", data=name): net}
        for recipe, (first, *rest) in ((recipe, some) for recipe, some in each.items() if some):
            network = {"recipe": "plain", "network": recipe} if recipe == "cited" else {"recipe": recipe}
            ids[MeasurementId.of("accuracy", data=name, **network)] = first
            for one in rest:
                ids[MeasurementId.of("training", data=name, recipe=recipe, seed=one.seed)] = one
        found |= {
            id: proportion(round(one.curve[-1].item() * n), n, level=run.level(id), seeds=(one.seed,))
            for id, one in ids.items()
        }
    return found


def successes(run: Run, found: Mapping[str, Mapping[str, AttackResult]]) -> Estimates:
    """Images broken, of those that were right before; PGD's count is the control of the attacks' strength."""
    made = {}
    for name, attacks in found.items():
        for attack, one in attacks.items():
            whose = ("cw", "within") if attack == "cw-clipped" else (attack, "correct")
            ids = [MeasurementId.of("success", data=name, attack=whose[0], among=whose[1])]
            for id in ids + [MeasurementId.of("control", what="strength", data=name)] * (attack == "pgd"):
                made[id] = proportion(
                    int(one.found.sum()), int(one.correct.sum()), level=run.level(id), seeds=(run.p.seed,)
                )
    return made


def settings(run: Run) -> Estimates:
    """The budget of C&W's search: its steps over the constant, and the gradient steps of each."""
    return {
        MeasurementId.of("settings", attack="cw", what=what): exact(value)
        for what, value in (("searches", run.p.cw_searches), ("steps", run.p.cw_steps))
    }


def degenerate(net: Trained, found: Mapping[str, float]) -> Estimates:
    """R9 to R11, which are empty whatever the network."""
    ids = {MeasurementId.of("degenerate", data=net.name, reading=reading): reading for reading in found}
    return {id: exact(found[reading]) for id, reading in ids.items()}


def table_cells(run: Run, data: str, columns: Mapping[str, Tensor], network: str = "") -> Estimates:
    """Every reading of every cell of Table I for one data set: mean and sd over images of S, and of TV raw
    and scaled; of the maps that are no readings by ids that begin with "compared".

    network   whose maps they are, where it is not the first
    """
    found: Estimates = {}
    for summary, word in (("mean", "mean"), ("sd", "std")):
        cells = {}
        for (statistic, which, key), values in _named(columns, "table"):
            what, _, scale = statistic.partition(".")
            cells[cell_id(data, which, f"{what}_{word}", key, scale, network)] = values
        found |= _summarised(run, cells, summary)
    return found


def resolved(run: Run, data: str, columns: Mapping[str, Tensor]) -> Estimates:
    """Mean S over the share of a map's largest effect above which an effect counts as positive."""
    parts = _named(columns, "resolved")
    return _summarised(run, {resolved_id(data, which, key, x): values for (x, which, key), values in parts})


def _named(columns: Mapping[str, Tensor], kind: str) -> Iterator[tuple[list[str], Tensor]]:
    """The columns of one kind, with what their names say beside it."""
    for text, values in columns.items():
        first, *rest = text.split(" ")
        if first == kind:
            yield rest, values


def resolved_id(data: str, which: str, key: str, share: str) -> MeasurementId:
    """The id of S over a threshold: resolved.mnist.pgd.R3m.probability.true.0.01."""
    return MeasurementId.of("resolved", data=data, set=which, **key_parts(key), share=share)


def claimed(run: Run, data: str, columns: Mapping[str, Tensor]) -> Estimates:
    """What decides the claims of IV-B for one data set, their placebos, and what is beyond these."""
    made = claims.named(data, columns, "claim", "noise", "chance", "drawn", "beyond")
    counts = {id: values for id, values in made.items() if id.parts["claim"] == "T9"}
    return _summarised(run, {id: values for id, values in made.items() if id not in counts}) | {
        id: proportion(int(values.sum()), len(values), level=run.level(id), seeds=(run.p.seed,))
        for id, values in counts.items()
    }


def cell_id(
    data: str, which: str, column: str, key: str, scale: str = "", network: str = ""
) -> MeasurementId:
    """The id of one reading of a cell of Table I: table.mnist.pgd.TV_mean.R1.logit.true.scaled."""
    parts = key_parts(key)
    kind = "compared" if parts["reading"] in COMPARISONS else "table"
    return MeasurementId.of(kind, data=data, set=which, column=column, **parts, scale=scale, network=network)


def between_id(data: str, which: str, statistic: str, key: str, scale: str = "") -> MeasurementId:
    """The id of a spread between trainings."""
    return MeasurementId.of(
        "between", data=data, set=which, statistic=statistic, **key_parts(key), scale=scale
    )


WORDS = ("rises", "open", "falls")


def direction(one: Estimate) -> str:
    """Whether a change rises or falls over its whole interval, or is open."""
    return "rises" if (one.low or 0.0) > 0 else "falls" if (one.high or 0.0) < 0 else "open"


def directions(found: Mapping[MeasurementId, Estimate]) -> Estimates:
    """How often S (T6) and TV (T8) rise, fall, or stay open under the attacks, by the class of the map, over
    sets, readings and scores.

    found   claim.* against the clean image, beyond.* against noise; what else is there is passed over
    """
    counts: dict[tuple[tuple[str, str], ...], Counter[str]] = {}
    sets: set[str] = set()
    for id, one in found.items():
        part = id.parts
        if id.kind in ("claim", "noise", "beyond") and part["claim"] in ("T6", "T8"):
            sets.update(id.data)
            parts = {"kind": id.kind, "claim": part["claim"]}
            parts |= {"attacks": "l2" if part["attack"] == "cw" else "linf", "of": part["of"]}
            parts["scale"] = part.get("scale", "")
            counts.setdefault(tuple(parts.items()), Counter())[direction(one)] += 1
    made: Estimates = {}
    for key, number in counts.items():
        for word, count in {**{word: number[word] for word in WORDS}, "all": number.total()}.items():
            id = MeasurementId.of("directions", on=sorted(sets), **dict(key), word=word)
            made[id] = exact(count, n=number.total())
    return made


def between(data: str, each: Mapping[int, Mapping[str, Tensor]]) -> Estimates:
    """Standard deviation over trainings of Table I's means, in the readings that every training has; nothing
    for one training.

    each   seed -> columns of Table I's statistics
    """
    seeds, found = tuple(each), {}
    for text in each[seeds[0]] if len(seeds) > 1 else ():
        _, statistic, which, key = text.split(" ")
        what, _, scale = statistic.partition(".")
        means = [columns[text].double().mean().item() for columns in each.values()]
        estimate = Estimate(stdev(means), method="sd over trainings", n=len(means), seeds=seeds)
        found[between_id(data, which, what, key, scale)] = estimate
    return found


def latents(run: Run, found: Sequence[Latents]) -> Estimates:
    """How many latents of a beta-VAE are active, over trainings where there are several; what all carry; and
    how many samples pass for their label.
    """
    made: Estimates = {}
    for beta in dict.fromkeys(one.beta for one in found):
        those = [one for one in found if one.beta == beta]
        seeds, nats = tuple(one.seed for one in those), [one.kl.sum().item() for one in those]
        id = "vae.active" if beta == run.p.vae_beta else f"vae.latents.{beta:g}"
        made[id] = mean([one.active for one in those], level=run.level(id), seed=run.p.seed, seeds=seeds)
        made[f"vae.nats.{beta:g}"] = mean(nats, seed=run.p.seed, seeds=seeds)
        right, of = map(sum, zip(*(one.labels for one in those), strict=True))
        made[f"vae.labels.{beta:g}"] = proportion(right, of, seeds=seeds)
    return made


def rows(run: Run, found: Mapping[int, Mapping[str, Tensor]]) -> Estimates:
    """Mean S over images against the number of rows, plain and with unresolved signs left out."""
    own = {f"rows.{size}.{name}": x for size, of in found.items() for name, x in of.items()}
    return {id: mean(x.numpy(), seed=run.p.seed, seeds=(run.p.seed,)) for id, x in own.items()}


def strengths(run: Run, points: Sequence[Point]) -> Estimates:
    """Each statistic of the maps, and the share misled, at each budget."""
    found: Estimates = {}
    for one in points:
        found[f"{one.id}.misled"] = proportion(int(one.broken.sum()), len(one.broken), seeds=(run.p.seed,))
        found |= _summarised(run, {f"{one.id}.{name}": values for name, values in one.statistics()})
    return found


def detections(run: Run, name: str, found: Mapping[str, Mapping[str, Tensor]]) -> Estimates:
    """The AUC of each detector for each kind of image; found: reading -> kind -> a number an image whose mean
    is the AUC.
    """
    columns = {
        MeasurementId.of("detector", data=name, reading=reading, kind=kind): values
        for reading, kinds in found.items()
        for kind, values in kinds.items()
    }
    return _summarised(run, columns)


def alike(run: Run, name: str, columns: Mapping[str, Tensor], readings: Sequence[str]) -> Estimates:
    """The mean correlation, over images, of two readings' maps of the same image."""
    maps = {key_parts(key)["reading"]: columns[f"maps whole clean {key}"] for key in readings}
    found = {}
    for a, b in combinations(maps, 2):
        n = min(len(maps[a]), len(maps[b]))
        id = MeasurementId.of("alike", data=name, pair=f"{a}-{b}")
        found[id] = m.correlation(maps[a][:n], maps[b][:n])
    return _summarised(run, found)


def corners(run: Run, found: Sequence[Corner]) -> Estimates:
    """What each network does with the corner of `shapes`; the controls take rho 0.9, where the corner is
    learned, and rho 0.
    """
    made: Estimates = {}
    for one in found:
        for what, values in (("pixel", one.pixel), ("single", one.single), ("joint", one.joint)):
            id = {("pixel", 0.9): "control.T15.learned", ("pixel", 0.0): "control.T15.none"}.get(
                (what, one.rho), f"shapes.{what}.{one.rho}"
            )
            made[id] = mean(values.numpy(), level=run.level(id), seed=run.p.seed, seeds=(run.p.seed,))
        made |= {
            f"shapes.accuracy.{one.rho}": proportion(*one.accuracy),
            f"shapes.without.{one.rho}": proportion(*one.without),
        }
    return made


def agreement(sampled: Mapping[str, Tensor], formula: Mapping[str, Tensor]) -> Estimates:
    """Correlation of Taylor's effects with the sampled ones, for each score."""
    made: Estimates = {}
    for score, values in sampled.items():
        value = torch.corrcoef(torch.stack([values, formula[score]]))[0, 1].item()
        made[f"taylor.correlation.{score}"] = exact(value, n=len(values))
    return made


def whole(book: Ledger, found: Mapping[str, Estimate]) -> Estimates:
    """Of Table I under one reading: how many combinations of choices there are, how many of them differ, the
    most cells inside under one of them, and in how many all directions are right.
    """
    [row] = [row for row in book.rows if row.id == "whole.table-1"]
    cells = book.cells_of(cast(TableRule, row.rule))
    spelled = cast(TableRule, row.rule).spelled(cell.id for cell in cells)
    readings = ranked(cells, spelled, found)
    counts = {
        "combinations": len(spelled),
        "readings": len(readings),
        "cells": len(cells),
        "inside": max(one.inside for one in readings),
        "directed": sum(one.directions[0] == one.directions[1] > 0 for one in readings),
    }
    return {MeasurementId.of("whole", what=what): exact(count) for what, count in counts.items()}


def _summarised(run: Run, columns: Mapping[Any, Tensor], statistic: Any = "mean") -> Estimates:
    """One bootstrap for all columns of a length and a level; an image that is NaN is left out, and a column
    without an image has no estimate.
    """
    groups: dict[tuple[int, float], dict[str, Any]] = {}
    for id, column in columns.items():
        values = column[~column.isnan()]
        groups.setdefault((len(values), run.level(id)), {})[id] = values.cpu().numpy()
    found: Estimates = {}
    seed = run.p.seed
    for (n, level), part in groups.items():
        if n:
            found |= summaries(part, statistic=statistic, level=level, seed=seed, seeds=(seed,))
    return found
