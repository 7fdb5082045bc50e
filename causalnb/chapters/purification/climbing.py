"""How accuracy falls as the attacker knows more, through the store and as estimates; the controls that say
whether those attacks work: planted weaknesses, an attack without gradients.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import attacks, statistics, training
from causalnb.attacks.planted import planted_control
from causalnb.chapters.purification import evaluation, experiments, knowledge, networks
from causalnb.chapters.purification.defence import Defence
from causalnb.chapters.purification.evaluation import Purified, Threat
from causalnb.chapters.purification.experiments import Outcomes
from causalnb.chapters.purification.knowledge import RUNGS
from causalnb.chapters.purification.measurements import of_seeds
from causalnb.chapters.purification.networks import Run, Sets
from causalnb.chapters.purification.released import CLAMP, DEFAULT, STEP, Released
from causalnb.statistics import Estimates, exact
from causalnb.store import memo

DEFENCES = {"ours": "CausalDiff, ours", "pgd": "CNN, PGD-trained", "plain": "CNN, plain"}
BASELINES = {
    "median": "median of 3 x 3",
    "noise": "noise of the budget's size",
    "one-step": "one denoising step",
    "diffpure": "noise and five steps back",
}
PLANTED = 20  # images beside which a weakness is planted, at most


# The ladder ----------------------------------------------------------------------------------------------


def ours(run: Run, of: Sets) -> list[Outcomes]:
    """`knowledge.climbed` of the first reading's models, one a seed."""
    p, seeds = run.p, networks.seeds(run.p)
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    own, scale, found = experiments.settings(p, of.train.images), p.eps / experiments.PRINTED_EPS, []
    models = networks.trained(run, of, "two-stage", seeds=seeds)
    for model, plain in zip(models, networks.classifiers(run, of, seeds=seeds), strict=True):
        script = Released(model, rate=DEFAULT, clamp=CLAMP * scale, step=STEP * scale)
        given = (Defence(model, own), plain, script, images, labels, experiments.threat(p, "linf"))
        what = f"the ladder of attackers on {of.name}"
        found.append(memo(run.store, what, knowledge.climbed, *given, draws=p.scored, seed=p.seed))
    return found


def classifiers(run: Run, of: Sets, *, robust: bool) -> dict[str, Tensor]:
    """Right answers [seeds, n] of networks alone: clean, on images attacked on the causal model's encoder,
    and on those or their own. Beyond their gradient there is nothing to know.
    """
    seeds, threat = networks.seeds(run.p), experiments.threat(run.p, "linf")
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    models = networks.classifiers(run, of, seeds=seeds, robust=robust)
    found: dict[str, list[Tensor]] = {"clean": [], "transfer": []}
    for model, other in zip(models, networks.trained(run, of, "two-stage", seeds=seeds), strict=True):
        clean = training.predict(model, images).argmax(1) == labels
        moved = experiments.pgd(run, other, images, labels, threat)
        found["clean"].append(clean.cpu())
        found["transfer"].append((clean & (training.predict(model, moved).argmax(1) == labels)).cpu())
    made = {rung: torch.stack(each) for rung, each in found.items()}
    stands = made["transfer"] & experiments.baseline_under(run, of, "linf", robust=robust)
    return {rung: made.get(rung, made["transfer"] if rung == "released" else stands) for rung in RUNGS}


def ladder(run: Run, of: Sets) -> Estimates:
    """Accuracy of each defence on each rung: "ladder.DATA.DEFENCE.RUNG"."""
    by_defence: dict[str, dict[str, Any]] = {}
    each = ours(run, of)
    by_defence["ours"] = {rung: [one[rung].double().mean(0).cpu() for one in each] for rung in RUNGS}
    for name, robust in (("pgd", True), ("plain", False)):
        by_defence[name] = {rung: one.double() for rung, one in classifiers(run, of, robust=robust).items()}
    return {
        f"ladder.{of.name}.{name}.{rung}": of_seeds(run, f"ladder.{of.name}.{name}.{rung}", values)
        for name, rungs in by_defence.items()
        for rung, values in rungs.items()
    }


def baselines(run: Run, of: Sets) -> Estimates:
    """Other changes of the image before the plain network of the first seed: "before.DATA.NAME.RUNG"."""
    p, [seed, *_] = run.p, networks.seeds(run.p)
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    [plain] = networks.classifiers(run, of, seeds=[seed])
    [model] = networks.trained(run, of, "two-stage", seeds=[seed])
    found: Estimates = {}
    for name, change in knowledge.changes(model, p.eps).items():
        given = (knowledge.Before(change, plain), plain, images, labels, experiments.threat(p, "linf"))
        what = f"{name} before a plain CNN on {of.name}"
        right = memo(run.store, what, knowledge.changed_under, *given, draws=p.scored, seed=p.seed)
        for rung, one in right.items():
            values = one.double().mean(0).cpu().numpy()
            found[f"before.{of.name}.{name}.{rung}"] = statistics.mean(values, seeds=(seed,))
    return found


# Controls of the attacks ---------------------------------------------------------------------------------


def planted(run: Run, of: Sets) -> Estimates:
    """Of weaknesses planted behind the purifier, its noise fixed and known, how many the attack finds."""
    p = run.p
    [model] = networks.trained(run, of, "two-stage", seeds=networks.seeds(p)[:1])
    purified = Purified(model, experiments.settings(p, of.train.images, searches=0), p.seed)
    images = of.attacked.images[:PLANTED].to(run.device)
    threat = experiments.threat(p, "linf")
    found, could, by_chance = memo(
        run.store,
        f"planted behind the purifier on {of.name}",
        found_planted,
        purified,
        images,
        threat=threat,
        seed=p.seed,
    )["counts"].tolist()
    name = f"control.planted.{of.name}"
    return {
        name: exact(found / could if could else 0.0, n=could),
        f"planted.{of.name}.random": exact(by_chance / could if could else 1.0, n=could),
    }


def found_planted(purified: Purified, images: Tensor, *, threat: Threat, seed: int) -> Outcomes:
    """ "counts": found by PGD through the purifier, whose sign steps have the identity's gradient (BPDA);
    planted; found by random search.
    """
    asked: dict[str, Any] = {"norm": threat.norm, "eps": threat.eps, "seed": seed}
    attack = partial(attacks.run, "pgd", step=threat.step, steps=threat.steps, **asked)
    of = planted_control(attack, purified, images, features=purified, **asked)
    return {"counts": torch.tensor([of.attack[0], of.attack[1], of.random[0]])}


def squared(run: Run, of: Sets) -> Estimates:
    """How many images more fall to Square, which sees scores alone, than to attacks with gradients: both on
    purification alone with its noise fixed and known, on the first half of the images.
    """
    p, id = run.p, f"control.square.{of.name}"
    [model] = networks.trained(run, of, "two-stage", seeds=networks.seeds(p)[:1])
    defence = Defence(model, experiments.settings(p, of.train.images, searches=0), seed=p.seed)
    half = slice(max(2, p.n_images // 2))
    images, labels = of.attacked.images[half].to(run.device), of.attacked.labels[half].to(run.device)
    threat = experiments.threat(p, "linf", draws=1)
    stands = memo(
        run.store,
        f"Square and gradients on {of.name}",
        by_scores,
        defence,
        images,
        labels,
        threat,
        queries=p.queries,
        seed=p.seed,
    )
    difference = stands["gradients"].double() - stands["square"].double()
    return {id: statistics.mean(difference.cpu().numpy(), level=run.level(id), seed=p.seed)}


def by_scores(
    defence: nn.Module, images: Tensor, labels: Tensor, threat: Threat, *, queries: int, seed: int
) -> Outcomes:
    """Whether each image withstands: "square", and "gradients", all candidates of an attacker who has them;
    [n] bool. The defence draws nothing.
    """
    assert isinstance(defence, Defence)
    asked: dict[str, Any] = {"norm": threat.norm, "eps": threat.eps, "seed": seed}
    result = attacks.run("square", defence, images, labels, queries=queries, rescale=True, **asked)
    found = evaluation.candidates(defence, images, labels, threat, seed=seed)
    with torch.no_grad():
        right = torch.stack([defence(one).argmax(1) == labels for one in found.values()])
    return {"square": result.correct & ~result.found, "gradients": right.all(0)}
