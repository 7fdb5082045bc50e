"""What chapter 5 measures: estimates by the ids that the ledger names, from what experiments.py gives.

What a training does is an estimate over seeds, images crossed with seeds; with one seed it is a mean over
images, which decides no claim about a training.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from causalnb import detection, statistics, training
from causalnb.chapters.purification import abstract, evaluation, experiments, networks, scores
from causalnb.chapters.purification.defence import Defence
from causalnb.chapters.purification.evaluation import Norm
from causalnb.chapters.purification.experiments import NORMS, Outcomes
from causalnb.chapters.purification.network import causal_diffusion
from causalnb.chapters.purification.networks import Run, Sets
from causalnb.statistics import Estimate, Estimates, exact, logic, over_seeds

READINGS = ("two-stage", "joint")
NAMES = {"linf": "linf", "l2": "l2", "flow": "stadv"}
Measure = Callable[[Run, Sets], Estimates]
BAND = 0.05  # how far below the best clean accuracy an eta's may lie


def of_seeds(run: Run, id: str, values: Sequence[Tensor] | Tensor) -> Estimate:
    """The mean of values [seeds, n], at the level that the id's row asks for."""
    table = torch.stack(list(values)).double().cpu().numpy()
    seeds, level = networks.seeds(run.p)[: len(table)], run.level(id)
    if len(table) > 1:
        return over_seeds(table, seeds=seeds, level=level)
    return statistics.mean(table[0], level=level, seeds=tuple(seeds))


def readings(run: Run) -> tuple[str, ...]:
    """Trainings that the run asks: all, or the first alone."""
    return READINGS if run.p.all_arms else READINGS[:1]


def _all(run: Run, found: Mapping[str, Sequence[Tensor] | Tensor]) -> Estimates:
    return {id: of_seeds(run, id, values) for id, values in found.items()}


def _means(outcomes: Sequence[Outcomes]) -> list[Tensor]:
    return [evaluation.withstood(one)["mean"].cpu() for one in outcomes]


def _less(one: Sequence[Tensor] | Tensor, other: Sequence[Tensor] | Tensor) -> list[Tensor]:
    return [a.double() - b.double() for a, b in zip(one, other, strict=True)]


# Without a network ---------------------------------------------------------------------------------------


def of_the_abstract(printed: Mapping[str, str]) -> Estimates:
    """Whether each of the abstract's numbers fits three attacks on 512 images each; printed: the ledger's
    text, by row.
    """
    answers = abstract.ATTACKS * abstract.IMAGES
    return {id: logic(abstract.fits(float(text), answers), n=answers) for id, text in printed.items()}


def cost(run: Run, of: Sets) -> Estimates:
    """What a defended prediction costs: calls of the noise predictor, and multiplications in passes of the
    encoder, a gradient counted as two passes more.
    """
    own = experiments.settings(run.p, of.train.images)
    model = causal_diffusion(
        classes=len(of.train.classes),
        channels=of.train.images.shape[1],
        size=of.train.images.shape[2],
        s=run.p.latents,
        z=run.p.latents,
        width=run.p.width,
    )
    image = of.attacked.images[:1]
    encoder = multiplications(model, lambda: model(image))
    unet = multiplications(model, lambda: model.noise(image, torch.zeros(1, dtype=torch.long)))
    return {
        "cost.calls": exact(own.passes),
        "cost.encoders": exact(round((encoder + 3 * own.passes * unet) / encoder)),
    }


def multiplications(model: nn.Module, call: Callable[[], object]) -> int:
    """Of the convolutions and linear layers that a call runs.

    >>> layer = nn.Linear(3, 2)
    >>> multiplications(layer, lambda: layer(torch.ones(1, 3)))
    6
    """
    found: list[int] = []

    def count(layer: nn.Module, given: object, made: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        found.append(weight.numel() * (made[0, 0].numel() if made.ndim == 4 else 1))

    kinds = (nn.Conv2d, nn.Linear)
    hooks = [one.register_forward_hook(count) for one in model.modules() if isinstance(one, kinds)]
    with torch.no_grad():
        call()
    for hook in hooks:
        hook.remove()
    return sum(found)


# Robustness ----------------------------------------------------------------------------------------------


def robustness(run: Run, of: Sets) -> Estimates:
    """Claims on robust accuracy under three attacks: against the baselines, together, and what the search for
    S adds.
    """
    robust = {norm: experiments.baseline_under(run, of, norm, robust=True).double() for norm in NORMS}
    plain = {norm: experiments.baseline_under(run, of, norm, robust=False).double() for norm in NORMS}
    found: dict[str, Sequence[Tensor] | Tensor] = {}
    for norm in NORMS[1:]:
        found[f"claim.C11.{of.name}.{NAMES[norm]}"] = _less(robust["linf"], robust[norm])
    best = max((robust, plain), key=lambda one: float(_least(one).mean()))
    for reading in readings(run):
        under = {norm: experiments.arm_under(run, of, reading, norm) for norm in NORMS}
        ours = {norm: _means(each) for norm, each in under.items()}
        gain = {norm: _less(ours[norm], robust[norm]) for norm in NORMS}
        for norm in NORMS[1:]:
            found[f"claim.C1.{of.name}.{NAMES[norm]}.{reading}"] = _less(gain[norm], gain["linf"])
        average = [torch.stack(each).mean(0) for each in zip(*ours.values(), strict=True)]
        worst = [torch.stack(each).amin(0) for each in zip(*ours.values(), strict=True)]
        found[f"claim.comprehensive.{of.name}.{reading}"] = _less(average, worst)
        found[f"claim.C4.{of.name}.{reading}"] = _less(worst, _least(best))
        alone = _means(experiments.arm_under(run, of, reading, "linf", searches=0))
        found[f"claim.C9.{of.name}.infer.{reading}"] = _less(ours["linf"], alone)
        known = _means(experiments.arm_under(run, of, reading, "linf", fixed=True))
        found[f"control.known.{of.name}.{reading}"] = _less(known, plain["linf"])
        held = experiments.placebo(run, of, reading)
        found[f"control.clean.{of.name}.{reading}"] = [one["single.clean"].double().mean(0) for one in held]
        found[f"control.sign.{of.name}.{reading}"] = _means(held)
        found[f"control.encoder.{of.name}.{reading}"] = experiments.encoders_under(run, of, reading).double()
    return _all(run, found)


def _least(by_norm: Mapping[Norm, Tensor]) -> Tensor:
    """Whether each image withstands all: [seeds, n]."""
    return torch.stack(list(by_norm.values())).amin(0)


def of_eta(run: Run, of: Sets) -> Estimates:
    """What the term of S and Z does: eta > 0 against 0, and the grid of etas in Linf."""
    names = {eta: "two-stage" if eta == run.p.eta else f"eta-{eta:g}" for eta in networks.ETAS}
    found: dict[str, Sequence[Tensor] | Tensor] = {}
    for norm in NORMS:
        part = "claim.C9" if norm == "linf" else "claim.eta"
        id = f"{part}.{of.name}.{'eta' if norm == 'linf' else NAMES[norm]}.two-stage"
        with_term, without = (
            _means(experiments.arm_under(run, of, arm, norm)) for arm in ("two-stage", names[0.0])
        )
        found[id] = _less(with_term, without)
    grid = {eta: _means(experiments.arm_under(run, of, arm, "linf")) for eta, arm in names.items()}
    right = {
        eta: [one["single.clean"].double() for one in experiments.arm_under(run, of, arm, "linf")]
        for eta, arm in names.items()
    }
    clean = {eta: float(torch.stack(each).mean()) for eta, each in right.items()}
    for part, values in eta_claims(grid, clean).items():
        found[f"figure.18_1.{of.name}.{part}.two-stage"] = values
    return _all(run, found)


def eta_claims(
    grid: Mapping[float, Sequence[Tensor]], clean: Mapping[float, float]
) -> dict[str, list[Tensor]]:
    """What figures_18_1 says of robust accuracies [n] by eta and seed, given clean accuracies: the best eta
    within the grid less the better end ("optimum"), less eta = 0 ("small"), less the greatest whose clean
    accuracy stays in its band ("large"; 0 where that is the best itself). The best and the better end are
    chosen on the even images, all is measured on the odd ones.
    """
    etas = sorted(grid)
    kept = [eta for eta in etas if clean[eta] >= max(clean.values()) - BAND]
    inner = [eta for eta in etas[1:-1] if eta in kept] or etas[1:-1]
    even = {eta: float(torch.stack([one[::2] for one in grid[eta]]).mean()) for eta in etas}
    best = max(inner, key=even.__getitem__)
    ends = {"optimum": max((etas[0], etas[-1]), key=even.__getitem__), "small": etas[0], "large": kept[-1]}
    odd = {eta: [one[1::2] for one in grid[eta]] for eta in etas}
    return {part: _less(odd[best], odd[end]) for part, end in ends.items()}


# Latents -------------------------------------------------------------------------------------------------


def latents(run: Run, of: Sets) -> Estimates:
    """What the latents tell: gates, the starved S, the order of figures_8_1."""
    found: dict[str, Sequence[Tensor] | Tensor] = {}
    for reading in readings(run):
        each = experiments.scored(run, of, reading)
        name = f"{of.name}.{{}}.{reading}"
        style = [one["style.z"] - one["style.s"] for one in each]
        gate = "control.gate." + name
        found |= {
            f"claim.C2.{name.format('label')}": [one["label.z"] for one in each],
            f"claim.C2.{name.format('style')}": style,
            gate.format("s_label"): [one["label.s"] for one in each],
            gate.format("z_label"): [one["label.z"] for one in each],
            gate.format("z_label_means"): [one["means.z"] for one in each],
            gate.format("z_style"): [one["style.z"] for one in each],
            gate.format("difference"): style,
            gate.format("kl_z"): [one["kl.z"] for one in each],
            gate.format("club"): [one["club"] - one["bound"] for one in each],
        }
        for kind in ("neighbours", "silhouette"):
            parts = {block: [one[f"{kind}.{block}"].double() for one in each] for block in ("s", "z", "both")}
            figure = f"figure.8_1.{of.name}.{{}}.{reading}-{kind}"
            found[figure.format("both")] = _less(parts["both"], parts["s"])
            found[figure.format("s")] = _less(parts["s"], parts["z"])
            if kind == "neighbours":
                found[figure.format("z")] = parts["z"]
    return _all(run, found)


def separated(run: Run, of: Sets) -> Estimates:
    """What does separate S from style: an S of two numbers; and what the term of S and Z adds."""
    found: dict[str, Sequence[Tensor] | Tensor] = {}
    starved = experiments.scored(run, of, "starved")
    found[f"control.starved.{of.name}.s_style"] = [one["style.s"] for one in starved]
    found[f"control.starved.{of.name}.difference"] = [one["style.z"] - one["style.s"] for one in starved]
    found[f"control.starved.{of.name}.s_label"] = [one["label.s"] for one in starved]
    without = [one["style.z"] - one["style.s"] for one in experiments.scored(run, of, "eta-0")]
    with_term = [one["style.z"] - one["style.s"] for one in experiments.scored(run, of, "two-stage")]
    found[f"claim.C3.{of.name}.disentangles.two-stage"] = _less(with_term, without)
    return _all(run, found)


def style_changed(run: Run, of: Sets) -> Estimates:
    """What changes when style alone does: answers, against plain networks, and S against Z."""
    seeds, found = networks.seeds(run.p), {}
    plain = [experiments.changed_by_style(run, of, one) for one in networks.classifiers(run, of, seeds=seeds)]
    own = experiments.settings(run.p, of.train.images)
    for reading in readings(run):
        models = networks.trained(run, of, reading, seeds=seeds)
        ours = [experiments.changed_by_style(run, of, Defence(one, own)) for one in models]
        found[f"claim.essential.{of.name}.{reading}"] = _less(ours, plain)
        moved = [experiments.moved_by_style(run, of, one) for one in models]
        found[f"claim.C5.{of.name}.{reading}"] = [s / z.clamp_min(1e-6) for s, z in moved]
    return _all(run, found)


def few_images(run: Run, of: Sets) -> Estimates:
    """Clean accuracy with and without the terms, and the gap from training to test images, of the encoder
    with its head: on MNIST with a thousand training images.
    """
    seeds, right = networks.seeds(run.p), {}
    for arm in networks.OF_SET["mnist"]:
        models = networks.trained(run, of, arm, seeds=seeds)
        for part, images in (("train", of.train.take(slice(len(of.probe)))), ("test", of.probe)):
            right[arm, part] = [
                (training.predict(one, images.images).argmax(1) == images.labels).double() for one in models
            ]
    full, plain = right["two-stage", "test"], right["no-terms", "test"]
    gaps = {
        arm: [gap(right[arm, "train"][k], right[arm, "test"][k]) for k in range(len(seeds))]
        for arm in ("two-stage", "no-kl")
    }
    return _all(
        run,
        {
            f"claim.C3.{of.name}.accuracy.two-stage": _less(full, plain),
            f"claim.bottleneck.{of.name}.two-stage": _less(gaps["no-kl"], gaps["two-stage"]),
            f"control.room.{of.name}": full,
        },
    )


def gap(train: Tensor, test: Tensor) -> Tensor:
    """Accuracy on training less that on test images, as values [n] whose mean it is and whose spread is that
    of both: as many images of each.
    """
    n = min(len(train), len(test))
    return train[:n] - test[:n]


def cue(run: Run) -> Estimates:
    """How much less ours falls than plain networks where a cue is reversed."""
    found = experiments.cue_reversed(run)
    falls = {name: _less(*both) for name, both in found.items()}
    return _all(run, {"claim.C13.shapes.two-stage": _less(falls["plain"], falls["ours"])})


# Likelihood, pictures, the released flow -----------------------------------------------------------------


def likelihood(run: Run, of: Sets) -> Estimates:
    """AUCs of the noise error: attacked against clean by time and its placebo; against signs, and style."""
    found: Estimates = {}
    for reading in readings(run):
        model = networks.trained(run, of, reading, seeds=networks.seeds(run.p)[:1])[0]
        errors = experiments.likelihoods(run, of, model)
        for kind, other in (("figure", errors.attacked), ("placebo", errors.signs)):
            parts = torch.stack(
                [_auc_parts(clean, one) for clean, one in zip(errors.clean, other, strict=True)]
            )
            id = f"{kind}.20_2.{of.name}.small.{reading}"
            found[id] = statistics.mean(parts[0] - parts[-1], level=run.level(id), seed=run.p.seed)
            if kind == "figure":
                id = f"figure.20_2.{of.name}.falls.{reading}"
                rise = int(parts.mean(1).diff().argmax())
                found[id] = statistics.mean(
                    parts[rise + 1] - parts[rise], level=run.level(id), seed=run.p.seed
                )
        at = scores.TIMES.index(25)
        for part, other_ in (("sign", errors.signs), ("style", errors.style)):
            if other_ is not None:
                id = f"claim.C12.{of.name}.{part}.{reading}"
                found[id] = detection.auc(
                    other_[at].numpy(), errors.attacked[at].numpy(), level=run.level(id)
                )
    return found


def _auc_parts(clean: Tensor, other: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(detection.auc_parts(clean.numpy(), other.numpy())))


def pictures(run: Run, of: Sets) -> Estimates:
    """Whether pictures made from s* and z* have the label, judged by a plain network of the same seed."""
    seeds, found = networks.seeds(run.p), {}
    judges = networks.classifiers(run, of, seeds=seeds)
    for reading in readings(run):
        models = networks.trained(run, of, reading, seeds=seeds)
        each = [experiments.pictured(run, of, *both) for both in zip(models, judges, strict=True)]
        for name in each[0]:
            start = f"control.gate.{of.name}." if name == "swap" else f"figure.20_1.{of.name}."
            found[f"{start}{name}.{reading}"] = [one[name] for one in each]
    return _all(run, found)


def released(run: Run, of: Sets) -> Estimates:
    """What the rebuilt script's attack sees, by reading."""
    [model] = networks.trained(run, of, "two-stage", seeds=networks.seeds(run.p)[:1])
    found: Estimates = {}
    for reading, seen in experiments.released(run, of, model).items():
        for name, values in seen.items():
            id = f"control.released.{of.name}.{name}.{reading.replace('+', '')}"
            count = (int(values.double().round().sum()), len(values))
            found[id] = (
                statistics.mean(values.double().cpu().numpy(), level=run.level(id))
                if name == "stands"
                else statistics.proportion(*count, level=run.level(id))
            )
    return found


def attacks_believed(run: Run, of: Sets) -> Estimates:
    """Controls of the attacks: convergence, eps = 1, transfer."""
    found: Estimates = {}
    for name, (once, twice) in experiments.doubled(run, of, "two-stage", seeds=networks.seeds(run.p)).items():
        id = f"control.converged.{of.name}.{name}"
        fall = statistics.paired_difference(once.cpu().numpy(), twice.cpu().numpy(), level=run.level(id))
        found |= {id: fall, f"{id}.point": exact(fall.value, n=fall.n)}
    large = experiments.at_eps_one(run, of, "two-stage")
    found[f"control.large.{of.name}"] = statistics.mean(
        large.cpu().numpy(), level=run.level(f"control.large.{of.name}")
    )
    return found


def transfer(run: Run, of: Sets) -> Estimates:
    """How many more images stand when the attacker follows a plain network instead of the defence."""
    id = f"control.transfer.{of.name}"
    under = _means(experiments.arm_under(run, of, "two-stage", "linf"))
    return {id: of_seeds(run, id, _less(experiments.transferred(run, of, "two-stage"), under))}


OF_MODELS: tuple[Measure, ...] = (latents, style_changed, likelihood, pictures, released)
OF_ARMS: tuple[Measure, ...] = (robustness, of_eta, separated, attacks_believed, transfer)
BY_SET = OF_MODELS + OF_ARMS
