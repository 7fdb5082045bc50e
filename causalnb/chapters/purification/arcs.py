"""The pilot claims on the toy of two arcs: margins, curves over the budget, how latents and answers move."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from causalnb import chapters
from causalnb.chapters.purification import networks, toy
from causalnb.chapters.purification.measurements import of_seeds
from causalnb.chapters.purification.parameters import Parameters
from causalnb.chapters.purification.toy import GRID, MODELS, OURS, Attacked
from causalnb.statistics import Estimates
from causalnb.store import memo

Run = chapters.Run[Parameters]
Found = Mapping[str, Sequence[Attacked]]  # of a norm, by model, one a seed
POINTS = 10**6  # seed of the points attacked, apart from those of any training
MIDDLE = len(GRID) // 2  # the budget at which changes are compared


def seen(kind: str, norm: toy.Norm, *, steps: int, points: int, seed: int) -> Attacked:
    """Of a model trained and attacked."""
    model, some = toy.trained(kind, steps=steps, seed=seed), toy.points(points, seed=POINTS)
    return toy.attacked(model, *some, norm, steps=toy.PGD_STEPS)


def attacked(run: Run, norm: toy.Norm) -> dict[str, list[Attacked]]:
    """All models under a norm, one a seed."""
    p = run.p
    asked = {"steps": toy.TRAINING, "points": toy.ATTACKED}
    return {
        kind: [
            memo(run.store, f"{kind} on two arcs, {norm}", seen, kind, norm, seed=seed, **asked)
            for seed in networks.seeds(p)
        ]
        for kind in MODELS
    }


def measured(run: Run) -> Estimates:
    """The rows of tables_2_1 and figures_2_1 on our toy, and every model's numbers: "arcs.NORM.MODEL.WHAT".

    What is said of "each other model" is measured against the one that does better than the others on
    average.
    """
    values: dict[str, list[Tensor]] = {}
    for norm in toy.NORMS:
        found = attacked(run, norm)
        for kind, each in found.items():
            start = f"arcs.{norm}.{kind}"
            values[f"{start}.margin"] = [one.margin.double() for one in each]
            values[f"{start}.latent"] = [one.latent[MIDDLE].double() for one in each]
            values[f"{start}.answer"] = [one.answer[MIDDLE].double() for one in each]
            for place, eps in enumerate((0.0, *GRID)):
                values[f"{start}.{eps:g}"] = [one.stands[place].double() for one in each]
        values |= claims(norm, values, found)
    return {id: of_seeds(run, id, each) for id, each in values.items()}


def claims(norm: str, values: Mapping[str, list[Tensor]], found: Found) -> dict[str, list[Tensor]]:
    """The differences that the rows ask for, [n] a seed."""
    others = [kind for kind in MODELS if kind != OURS]

    def less(what: str, better: float) -> list[Tensor]:
        best = max(others, key=lambda kind: better * _mean(values[f"arcs.{norm}.{kind}.{what}"]))
        pairs = zip(values[f"arcs.{norm}.{OURS}.{what}"], values[f"arcs.{norm}.{best}.{what}"], strict=True)
        return [ours - other for ours, other in pairs]

    made = {
        f"claim.T1.arcs.{norm}": less("margin", 1),
        f"control.T1.arcs.latent.{norm}": less("latent", -1),
        f"control.T1.arcs.prediction.{norm}": less("answer", -1),
    }
    if norm == "linf":
        leads = [less(f"{eps:g}", 1) for eps in GRID]
        made["figure.2_1.arcs.never"] = min(leads, key=_mean)
        upper = leads[len(leads) // 2 :]
        made["figure.2_1.arcs.upper"] = [torch.stack(each).mean(0) for each in zip(*upper, strict=True)]
    return made


def _mean(each: Sequence[Tensor]) -> float:
    return float(torch.stack(list(each)).mean())
