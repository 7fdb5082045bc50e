"""What the record holds: experiments in, estimates out by measurement id, each interval at the level that its row asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from causalnb.attacks import AttackResult
from causalnb.chapters.ace import claims
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.errata import ERRATA, pixels_are_correlated
from causalnb.chapters.ace.experiments import Corner, Lab, Trained
from causalnb.chapters.ace.readings import Maps, individual
from causalnb.statistics import Estimate, exact, logic, mean, proportion, summaries

Estimates = dict[str, Estimate]


def accuracies(lab: Lab, nets: Mapping[str, Trained]) -> Estimates:
    """Test accuracy of each network, as printed number and as the control of the rows that its attacks decide."""
    found = {}
    for name, net in nets.items():
        n = len(lab.load(name))
        right = round(net.curve[-1].item() * n)
        for id in (f"accuracy.{name}.{'momentum' if lab.p.momentum else 'plain'}", f"control.accuracy.{name}"):
            found[id] = proportion(right, n, level=lab.level(id), seeds=(lab.p.seed,))
    return found


def successes(lab: Lab, found: Mapping[str, Mapping[str, AttackResult]]) -> Estimates:
    """Images broken, of those that were right before; PGD's count is the control of the attacks' strength."""
    made = {}
    for name, attacks in found.items():
        for attack, one in attacks.items():
            ids = [f"success.{name}.cw.within" if attack == "cw-clipped" else f"success.{name}.{attack}.correct"]
            for id in ids + [f"control.strength.{name}"] * (attack == "pgd"):
                made[id] = proportion(int(one.found.sum()), int(one.correct.sum()), level=lab.level(id), seeds=(lab.p.seed,))
    return made


def table_cells(lab: Lab, name: str, effects: Mapping[str, Maps]) -> Estimates:
    """Every reading of every cell of Table I for one data set: mean and sd over images of S, and of TV raw and scaled."""
    found: Estimates = {}
    for which, maps in effects.items():
        for what, ends in claims.STATISTICS.items():
            columns = {f"{key}{end}": statistic(values) for key, values in maps.items() for end, statistic in ends.items()}
            for summary, word in (("mean", "mean"), ("sd", "std")):
                found |= _summarised(lab, {f"table.{name}.{which}.{what}_{word}.{key}": values for key, values in columns.items()}, summary)
    return found


def claimed(lab: Lab, net: Trained, effects: Mapping[str, Maps], images: Mapping[str, Tensor], labels: Tensor,
            attacks: Mapping[str, AttackResult]) -> Estimates:
    """What decides the claims of IV-B and the printed order of Table I's means, for one data set."""
    found = _summarised(lab, claims.columns(net.name, effects, images, seed=lab.p.seed) | claims.orders(net.name, effects))
    broken = {attack: one.found.cpu()[one.correct.cpu()] for attack, one in attacks.items()}
    counts = claims.undone(net.model, images, labels, effects, broken, net.name)
    return found | {id: proportion(*of, level=lab.level(id), seeds=(lab.p.seed,)) for id, of in counts.items()}


def placebos(lab: Lab, name: str, effects: Mapping[str, Maps], noisy: Mapping[str, Maps]) -> Estimates:
    """Attack against harmless noise of its size, and each against clean, for S and TV in every reading."""
    return _summarised(lab, claims.placebos(name, effects, noisy, effects["clean"]))


def corners(lab: Lab, found: Sequence[Corner]) -> Estimates:
    """What each network does with the corner of `shapes`; the claim's row takes rho 0.9."""
    made: Estimates = {}
    for one in found:
        for what, values in (("pixel", one.pixel), ("single", one.single), ("joint", one.joint)):
            id = "claim.T15.shapes" if (what, one.rho) == ("pixel", 0.9) else f"shapes.{what}.{one.rho}"
            made[id] = mean(values.numpy(), level=lab.level(id), seed=lab.p.seed, seeds=(lab.p.seed,))
        made |= {f"shapes.accuracy.{one.rho}": proportion(*one.accuracy), f"shapes.without.{one.rho}": proportion(*one.without)}
    return made


def agreement(sampled: Mapping[str, Tensor], formula: Mapping[str, Tensor]) -> Estimates:
    """Correlation of Taylor's effects with the sampled ones, for each score."""
    pairs = {score: torch.corrcoef(torch.stack([values, formula[score]]))[0, 1].item() for score, values in sampled.items()}
    return {f"taylor.correlation.{score}": exact(value, n=len(sampled[score])) for score, value in pairs.items()}


def precision(lab: Lab, net: Trained, images: Tensor, labels: Tensor) -> Estimates:
    """Mean S of clean images in the reading R3m, logit of the true class, with the forwards in float32 and in float64."""
    few = slice(min(lab.p.n_individual, len(images)))
    of, found = {"true": labels[few].to(lab.device)}, {}
    for dtype in (torch.float32, torch.float64):
        maps = individual(net.model, images[few].to(lab.device), of, alphas=torch.zeros(1), fill=net.train.images.mean(0), dtype=dtype)
        name = f"precision.{net.name}.S_mean.R3m.logit.true.{str(dtype).removeprefix('torch.')}"
        found[name] = mean(m.sparsity(maps["R3m.logit.true"]).cpu().numpy(), seed=lab.p.seed, seeds=(lab.p.seed,))
    return found


def errata(net: Trained, printed: Mapping[str, float]) -> Estimates:
    """Whether each printed statement holds: the one that needs data is put to this run's first set, the one on Table I to its cells.

    printed   the numbers that the paper prints, by row id
    """
    tested = [*(test() for test in ERRATA.values()), pixels_are_correlated(net.train.images)]
    return {one.id: logic(one.holds, n=one.n) for one in tested} | {"erratum.E27": logic(_greatest("cw", printed))}


def _greatest(attack: str, printed: Mapping[str, float]) -> bool:
    """Whether an attack has the greatest printed mean of S and of TV on both data sets."""
    means = {id: value for id, value in printed.items() if id.endswith("_mean")}
    return all(value <= means[".".join(["table", id.split(".")[1], attack, id.split(".")[3]])] for id, value in means.items())


def _summarised(lab: Lab, columns: Mapping[str, Tensor], statistic: Any = "mean") -> Estimates:
    """One bootstrap for all columns of a length and a level; a column without an image has no estimate."""
    groups: dict[tuple[int, float], dict[str, Any]] = {}
    for id, values in columns.items():
        groups.setdefault((len(values), lab.level(id)), {})[id] = values.cpu().numpy()
    found: Estimates = {}
    for (n, level), part in groups.items():
        found |= summaries(part, statistic=statistic, level=level, seed=lab.p.seed, seeds=(lab.p.seed,)) if n else {}
    return found
