"""What the record holds: experiments in, estimates out by measurement id, each interval at the level that its
row asks for.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import stdev
from typing import Any

import torch
from torch import Tensor

from causalnb.attacks import AttackResult
from causalnb.chapters.ace import claims
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.controls import kinked, slopes_along
from causalnb.chapters.ace.errata import ERRATA, pixels_are_correlated
from causalnb.chapters.ace.networks import Latents, Run, Trained
from causalnb.chapters.ace.readings import individual, key_parts
from causalnb.chapters.ace.strength import Point
from causalnb.chapters.ace.truth import Corner
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, exact, logic, mean, proportion, summaries

SETS = ("clean", "cw", "fgsm", "pgd")  # the rows of Table I
PRINTED_SETS = ("mnist", "fashion_mnist")


def accuracies(
    run: Run, nets: Mapping[str, Trained], others: Mapping[str, Mapping[str, Sequence[Trained]]]
) -> Estimates:
    """Test accuracy of the attacked network, as printed number and as the control of the rows that its
    attacks decide; of all other trainings.

    others   data set -> recipe -> trainings, from `networks.others`
    """
    found: Estimates = {}
    for name, net in nets.items():
        n, own = len(run.load(name)), "momentum" if run.p.momentum else "plain"
        each = {
            own: [net, *others[name]["plain"]],
            **{
                recipe: trainings
                for recipe, trainings in others[name].items()
                if recipe != "plain" and trainings
            },
        }
        ids = {MeasurementId.of("control", what="accuracy", data=name): net}
        for recipe, trainings in each.items():
            ids[MeasurementId.of("accuracy", data=name, recipe=recipe)] = trainings[0]
            for one in trainings[1:]:
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


def table_cells(run: Run, data: str, columns: Mapping[str, Tensor]) -> Estimates:
    """Every reading of every cell of Table I for one data set: mean and sd over images of S, and of TV raw
    and scaled.
    """
    found: Estimates = {}
    own = [(text.split(" "), values) for text, values in columns.items() if text.startswith("table ")]
    for summary, word in (("mean", "mean"), ("sd", "std")):
        cells = {}
        for (_, statistic, which, key), values in own:
            what, _, scale = statistic.partition(".")
            cells[cell_id(data, which, f"{what}_{word}", key, scale)] = values
        found |= _summarised(run, cells, summary)
    return found


def claimed(run: Run, data: str, columns: Mapping[str, Tensor]) -> Estimates:
    """What decides the claims of IV-B and the printed order of Table I's means, for one data set; and T9's
    placebo.
    """
    made = claims.named(data, columns, "claim")
    counts = {id: values for id, values in made.items() if id.parts["claim"] == "T9"}
    own = {id: values for id, values in made.items() if id not in counts} | claims.orders(data, columns)
    undone = claims.named(
        data, {n: one for n, one in columns.items() if n.startswith("placebo T9 ")}, "placebo"
    )
    return _summarised(run, own | undone) | {
        id: proportion(int(values.sum()), len(values), level=run.level(id), seeds=(run.p.seed,))
        for id, values in counts.items()
    }


def cell_id(data: str, which: str, column: str, key: str, scale: str = "") -> MeasurementId:
    """The id of one reading of a cell of Table I: table.mnist.pgd.TV_mean.R1.logit.true.scaled."""
    return MeasurementId.of("table", data=data, set=which, column=column, **key_parts(key), scale=scale)


def between_id(data: str, which: str, statistic: str, key: str, scale: str = "") -> MeasurementId:
    """The id of a spread between trainings."""
    return MeasurementId.of(
        "between", data=data, set=which, statistic=statistic, **key_parts(key), scale=scale
    )


def direction(one: Estimate) -> str:
    """Whether a change rises or falls over its whole interval, or is open."""
    return "rises" if (one.low or 0.0) > 0 else "falls" if (one.high or 0.0) < 0 else "open"


def directions(found: Mapping[MeasurementId, Estimate]) -> Estimates:
    """How often S (T6) and TV (T8) rise, fall, or stay open under the three attacks, by the class of the map,
    over sets, readings and scores.

    found   claim.* against the clean image, placebo.* against noise; what else is there is passed over
    """
    counts: dict[tuple[tuple[str, str], ...], Counter[str]] = {}
    sets: set[str] = set()
    for id, one in found.items():
        part = id.parts
        if part.get("claim") in ("T6", "T8") and part["attack"] != "cw-clipped":
            sets.update(id.data)
            parts = {
                "kind": id.kind,
                "claim": part["claim"],
                "of": part["of"],
                "scale": part.get("scale", ""),
            }
            counts.setdefault(tuple(parts.items()), Counter())[direction(one)] += 1
    named = {
        MeasurementId.of("directions", on=sorted(sets), **dict(key), word=word): (number, word)
        for key, number in counts.items()
        for word in ("rises", "open", "falls")
    }
    return {id: exact(number[word], n=number.total()) for id, (number, word) in named.items()}


def placebos(run: Run, data: str, columns: Mapping[str, Tensor], drawn: Mapping[str, Tensor]) -> Estimates:
    """Each claim under an attack less the same under harmless noise of its size; for T5, less the same in an
    untrained network, of which `drawn` are the columns.
    """
    own = {text: values for text, values in columns.items() if not text.startswith("placebo T9 ")}
    own |= claims.untrained(columns, drawn)
    return _summarised(run, claims.named(data, own, "placebo", "noise"))


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
        ids, seeds = (
            ("vae.active" if beta == run.p.vae_beta else f"vae.latents.{beta:g}"),
            tuple(one.seed for one in those),
        )
        made[ids] = mean([one.active for one in those], level=run.level(ids), seed=run.p.seed, seeds=seeds)
        made[f"vae.nats.{beta:g}"] = mean(
            [one.kl.sum().item() for one in those], seed=run.p.seed, seeds=seeds
        )
        made[f"vae.labels.{beta:g}"] = proportion(
            sum(one.labels[0] for one in those), sum(one.labels[1] for one in those), seeds=seeds
        )
    return made


def rows(run: Run, found: Mapping[int, Mapping[str, Tensor]]) -> Estimates:
    """Mean S over images against the number of rows, plain and with unresolved signs left out."""
    return {
        f"rows.{size}.{name}": mean(values.numpy(), seed=run.p.seed, seeds=(run.p.seed,))
        for size, of in found.items()
        for name, values in of.items()
    }


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
    return _summarised(
        run,
        {
            MeasurementId.of("detector", data=name, reading=reading, kind=kind): values
            for reading, kinds in found.items()
            for kind, values in kinds.items()
        },
    )


def alike(run: Run, name: str, columns: Mapping[str, Tensor], readings: Sequence[str]) -> Estimates:
    """The mean correlation, over images, of two readings' maps of the same image."""
    maps = {key: columns[f"maps whole clean {key}"] for key in readings}
    pairs = {(a, b): min(len(maps[a]), len(maps[b])) for a, b in combinations(readings, 2)}
    return _summarised(
        run,
        {
            MeasurementId.of(
                "alike", data=name, pair="-".join(key_parts(key)["reading"] for key in (a, b))
            ): (m.correlation(maps[a][:n], maps[b][:n]))
            for (a, b), n in pairs.items()
        },
    )


def corners(run: Run, found: Sequence[Corner]) -> Estimates:
    """What each network does with the corner of `shapes`; the claim's row takes rho 0.9, its control rho
    0.
    """
    made: Estimates = {}
    for one in found:
        for what, values in (("pixel", one.pixel), ("single", one.single), ("joint", one.joint)):
            id = {("pixel", 0.9): "claim.T15.shapes", ("pixel", 0.0): "control.T15"}.get(
                (what, one.rho), f"shapes.{what}.{one.rho}"
            )
            made[id] = mean(values.numpy(), level=run.level(id), seed=run.p.seed, seeds=(run.p.seed,))
        made |= {
            f"shapes.accuracy.{one.rho}": proportion(*one.accuracy),
            f"shapes.without.{one.rho}": proportion(*one.without),
        }
    return made


def kinks(nets: Iterable[Trained], *, pixels: Sequence[int] = (200, 406, 600)) -> Estimates:
    """T14: whether no logit of the networks has a kink along the value of some pixels of the first image."""
    lines = torch.cat(
        [
            kinked(
                slopes_along(
                    copy.deepcopy(net.model).cpu().double(),
                    net.test.images[:1].double(),
                    pixels=torch.tensor(pixels),
                )
            )
            for net in nets
        ]
    )
    return {"claim.T14": logic(not lines.any(), n=lines.numel())}


def agreement(sampled: Mapping[str, Tensor], formula: Mapping[str, Tensor]) -> Estimates:
    """Correlation of Taylor's effects with the sampled ones, for each score."""
    pairs = {
        score: torch.corrcoef(torch.stack([values, formula[score]]))[0, 1].item()
        for score, values in sampled.items()
    }
    return {
        f"taylor.correlation.{score}": exact(value, n=len(sampled[score])) for score, value in pairs.items()
    }


def precision(run: Run, net: Trained, images: Tensor, labels: Tensor) -> Estimates:
    """Mean S of clean images in the reading R3m, logit of the true class, with the forwards in float32 and in
    float64.
    """
    few = slice(min(run.p.n_individual, len(images)))
    of, found = {"true": labels[few].to(run.device)}, {}
    for dtype in (torch.float32, torch.float64):
        maps = individual(
            net.model,
            images[few].to(run.device),
            of,
            alphas=torch.zeros(1),
            fill=net.train.images.mean(0),
            dtype=dtype,
        )
        parts = key_parts("R3m.logit.true") | {"dtype": str(dtype).removeprefix("torch.")}
        found[MeasurementId.of("precision", data=net.name, statistic="S_mean", **parts)] = mean(
            m.sparsity(maps["R3m.logit.true"]).cpu().numpy(), seed=run.p.seed, seeds=(run.p.seed,)
        )
    return found


def errata(net: Trained, printed: Mapping[str, float]) -> Estimates:
    """Whether each printed statement holds: the one that needs data is put to this run's first set, the one
    on Table I to its cells.

    printed   the numbers that the paper prints, by row id
    """
    on_data = pixels_are_correlated(net.train.images)
    found = {MeasurementId.of(on_data.id, on=net.name): logic(on_data.holds, n=on_data.n)}
    for one in (test() for test in ERRATA.values()):
        found[MeasurementId.of(one.id)] = logic(one.holds, n=one.n)
    return found | {MeasurementId.of("erratum.E27"): logic(_greatest("cw", printed))}


def _greatest(attack: str, printed: Mapping[str, float]) -> bool:
    """Whether an attack has the greatest printed mean of S and of TV on both data sets."""
    rows = [(data, column) for data in PRINTED_SETS for column in ("S_mean", "TV_mean")]
    others = [which for which in SETS if which != attack]
    return all(
        printed[f"table.{data}.{which}.{column}"] <= printed[f"table.{data}.{attack}.{column}"]
        for data, column in rows
        for which in others
    )


def _summarised(run: Run, columns: Mapping[Any, Tensor], statistic: Any = "mean") -> Estimates:
    """One bootstrap for all columns of a length and a level; an image that is NaN is left out, and a column
    without an image has no estimate.
    """
    groups: dict[tuple[int, float], dict[str, Any]] = {}
    for id, column in columns.items():
        values = column[~column.isnan()]
        groups.setdefault((len(values), run.level(id)), {})[id] = values.cpu().numpy()
    found: Estimates = {}
    for (n, level), part in groups.items():
        found |= (
            summaries(part, statistic=statistic, level=level, seed=run.p.seed, seeds=(run.p.seed,))
            if n
            else {}
        )
    return found
