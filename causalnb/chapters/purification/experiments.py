"""The long computations of chapter 5 on trained models, through the store: attacks and their scores, what the
latents tell, likelihoods, pictures, the released control flow.

What is computed from tensors and models alone is the method's; estimates are measurements.py's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from causalnb import attacks, data, training
from causalnb.attacks.adversarial import ascend
from causalnb.attacks.randomised import rescore
from causalnb.chapters.purification import evaluation, networks, scores
from causalnb.chapters.purification.defence import Defence, Settings
from causalnb.chapters.purification.evaluation import Norm, Threat
from causalnb.chapters.purification.network import CausalDiffusion
from causalnb.chapters.purification.networks import Run, Sets
from causalnb.chapters.purification.parameters import Parameters
from causalnb.chapters.purification.released import CLAMP, DEFAULT, STEEP, STEP, Released
from causalnb.store import memo

NORMS: tuple[Norm, ...] = ("linf", "l2", "flow")
REACH = 0.7  # of the longest change in Linf, in L2
PRINTED_EPS = 8 / 255  # to which the released script's clamp and step are set
Outcomes = dict[str, Tensor]


# The defence and its threats -----------------------------------------------------------------------------


def settings(
    p: Parameters,
    images: Tensor,
    *,
    kind: Literal["sign", "smooth"] = "sign",
    searches: int | None = None,
    eps: float | None = None,
) -> Settings:
    """Of the defence at the run's eps, or another: the change stays in the ball of the attack, 2 eps on
    [-1, 1], and its steps grow with it.
    """
    eps = p.eps if eps is None else eps
    return Settings(
        kind=kind,
        steps=p.purify_steps,
        latest=p.latest,
        step=eps,
        radius=2 * eps,
        reach=REACH * 2 * eps * images[0].numel() ** 0.5,
        searches=p.searches if searches is None else searches,
    )


def threat(p: Parameters, norm: Norm, *, steps: int | None = None, draws: int | None = None) -> Threat:
    """The run's budget in a norm; steps and draws other than the parameters say."""
    eps = {"linf": p.eps, "l2": p.eps_l2, "flow": p.eps_flow}[norm]
    return Threat(norm, eps, steps or p.attack_steps, draws or p.draws)


def evaluated(run: Run, of: Sets, defence: Defence, against: Threat, *, what: str) -> Outcomes:
    """`evaluation.evaluated` on the set's attacked images."""
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    return memo(
        run.store,
        f"{what} on {of.name} under {against.norm}",
        evaluation.evaluated,
        defence,
        images,
        labels,
        against,
        draws=run.p.scored,
        seed=run.p.seed,
    )


def arm_under(
    run: Run, of: Sets, arm: str, norm: Norm, *, searches: int | None = None, fixed: bool = False
) -> list[Outcomes]:
    """Outcomes of an arm's defences under a norm, one a seed.

    searches   other than the parameters say: 0 for purification alone
    fixed      with the noise fixed and known to the attacker
    """
    p, seeds = run.p, networks.seeds(run.p)
    own = settings(p, of.train.images, searches=searches)
    found = []
    for seed, model in zip(seeds, networks.trained(run, of, arm, seeds=seeds), strict=True):
        defence = Defence(model, own, seed=p.seed if fixed else None)
        against = threat(p, norm, draws=1) if fixed else threat(p, norm)
        found.append(evaluated(run, of, defence, against, what=f"defence ({arm}, {seed})"))
    return found


def baseline_under(run: Run, of: Sets, norm: Norm, *, robust: bool) -> Tensor:
    """Whether each image withstands on plain or PGD-trained networks: [seeds, n] bool."""
    p, against = run.p, threat(run.p, norm)
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    asked: dict[str, Any] = {
        "norm": norm,
        "eps": against.eps,
        "step": against.step,
        "steps": against.steps,
        "seed": p.seed,
    }
    found = []
    for model in networks.classifiers(run, of, seeds=networks.seeds(p), robust=robust):
        name = "stadv" if norm == "flow" else "pgd"
        what = f"{name} on {'PGD-trained' if robust else 'plain'} CNN, {of.name}"
        result = memo(run.store, what, attacks.run, name, model, images, labels, **asked)
        found.append(result.correct & ~result.found)
    return torch.stack(found).cpu()


def placebo(run: Run, of: Sets, arm: str) -> list[Outcomes]:
    """Clean images and random signs through as many candidates and draws as an attack has, one a seed."""
    p, seeds = run.p, networks.seeds(run.p)
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    own, found = settings(p, of.train.images), []
    for model in networks.trained(run, of, arm, seeds=seeds):
        defence = Defence(model, own)
        number = 1 + len(evaluation.attackers(defence, 1))
        asked = {"number": number, "draws": p.scored, "seed": p.seed}
        found.append(
            memo(
                run.store, f"signs on {of.name}", evaluation.placebo, defence, images, labels, p.eps, **asked
            )
        )
    return found


def encoders_under(run: Run, of: Sets, arm: str) -> Tensor:
    """Whether the encoder with its head, undefended, withstands PGD in Linf: [seeds, n] bool."""
    p, against = run.p, threat(run.p, "linf")
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    found = []
    for model in networks.trained(run, of, arm, seeds=networks.seeds(p)):
        attacked = pgd(run, model, images, labels, against)
        found.append(training.predict(model, attacked).argmax(1) == labels)
    return torch.stack(found).cpu()


def pgd(run: Run, model: nn.Module, images: Tensor, labels: Tensor, against: Threat) -> Tensor:
    """The ends of PGD's paths on a model without a defence."""
    asked: dict[str, Any] = {
        "norm": against.norm,
        "eps": against.eps,
        "step": against.step,
        "steps": against.steps,
    }
    return memo(run.store, "PGD on an encoder", path, model, images, labels, seed=run.p.seed, **asked)[
        "images"
    ]


def path(model: nn.Module, images: Tensor, labels: Tensor, **asked: object) -> dict[str, Tensor]:
    """The ends of PGD's paths, as the store keeps them."""
    return {"images": ascend(model, images, labels, **asked)}  # type: ignore[arg-type]


# Latents, likelihood, pictures ---------------------------------------------------------------------------


def scored(run: Run, of: Sets, arm: str, *, what: str = "") -> list[Outcomes]:
    """`scores.scores` of an arm's models on the probe images, one a seed."""
    found = []
    for model in networks.trained(run, of, arm, seeds=networks.seeds(run.p), what=what):
        given = (model, of.probe.images.to(run.device), of.probe.labels, dict(of.probe.factors))
        found.append(memo(run.store, f"scores ({arm}) on {of.name}", scores.scores, *given, seed=run.p.seed))
    return found


def restyled(of: data.Images, *, seed: int) -> data.Images:
    """The same scenes of `shapes` with the style of other scenes: do(style)."""
    order = torch.randperm(len(of), generator=torch.Generator().manual_seed(seed))
    return data.do(of, **{name: of.factors[name][order] for name in scores.STYLE})


@dataclass(frozen=True)
class Likelihoods:
    """The noise error by time, [times, n] each: of clean, attacked, randomly signed and restyled images."""

    clean: Tensor
    attacked: Tensor
    signs: Tensor
    style: Tensor | None


def likelihoods(run: Run, of: Sets, model: CausalDiffusion) -> Likelihoods:
    """Under the same noise; attacked on the encoder, in Linf."""
    p, clean = run.p, of.attacked.images.to(run.device)
    attacked = pgd(run, model, clean, of.attacked.labels.to(run.device), threat(p, "linf"))
    kinds = {
        "clean": clean,
        "attacked": attacked,
        "signs": evaluation.random_signs(clean, p.eps, seed=p.seed),
    }
    if of.attacked.factors:
        kinds["style"] = restyled(of.attacked, seed=p.seed).images.to(run.device)
    errors = {name: scores.errors_by_time(model, images, seed=p.seed) for name, images in kinds.items()}
    return Likelihoods(errors["clean"], errors["attacked"], errors["signs"], errors.get("style"))


def pictured(run: Run, of: Sets, model: CausalDiffusion, judge: nn.Module) -> dict[str, Tensor]:
    """Whether a network apart finds the label in pictures made from (s*, z*), s* and z* of clean and attacked
    images: [n] bool each, by "both.clean" and so on; "swap": from s* of one and z* of the next.
    """
    from causalnb.chapters.purification.defence import drawn, infer, purify

    p, labels = run.p, of.attacked.labels.to(run.device)
    clean, found = of.attacked.images.to(run.device), {}
    own = settings(p, of.train.images)
    for kind, images in {
        "clean": clean,
        "attacked": pgd(run, model, clean, labels, threat(p, "linf")),
    }.items():
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(p.seed)
            draw = drawn(own, images)
            latents = infer(model, purify(model, 2 * images - 1, own, draw), own, draw)
        for keep in ("both", "s", "z"):
            made = scores.pictures(model, latents, keep=keep, seed=p.seed)
            found[f"{keep}.{kind}"] = training.predict(judge, made).argmax(1) == labels
        if kind == "clean":
            mixed = torch.cat([latents[:, : model.s], latents.roll(1, 0)[:, model.s :]], 1)
            made = scores.pictures(model, mixed, keep="both", seed=p.seed)
            found["swap"] = training.predict(judge, made).argmax(1) == labels
    return {name: one.cpu() for name, one in found.items()}


# Style changed, a cue reversed ---------------------------------------------------------------------------


def changed_by_style(run: Run, of: Sets, model: nn.Module) -> Tensor:
    """How often a model's answer is another once style alone has changed, over draws of its noise: [n]."""
    draws = run.p.scored if isinstance(model, Defence) else 1
    both = [of.attacked.images, restyled(of.attacked, seed=run.p.seed).images]
    first, second = (
        evaluation.answers(model, images.to(run.device), draws=draws, seed=run.p.seed).cpu()
        for images in both
    )
    return (first != second).double().mean(0)


def moved_by_style(run: Run, of: Sets, model: CausalDiffusion) -> tuple[Tensor, Tensor]:
    """How far the means of S and of Z move once style alone has changed, in units of their spread over
    images: [n] each.
    """
    both = of.attacked.images, restyled(of.attacked, seed=run.p.seed).images
    before, after = (scores.latents(model, one.to(run.device), seed=None).cpu() for one in both)
    steps = ((after - before) / before.std(0).clamp_min(1e-6)).abs()
    return steps[:, : model.s].mean(1), steps[:, model.s :].mean(1)


def cue_reversed(run: Run) -> dict[str, tuple[Tensor, Tensor]]:
    """Models trained where brightness goes with the label, on scenes where it does, and where it goes with
    the label counted from the other end: whether each image is right, [seeds, n] bool each, of "ours" (the
    encoder with its head) and of "plain" networks.
    """
    p = run.p
    of = networks.sets(run, "shapes", rho=networks.CUED)
    scenes = data.shapes(len(of.attacked), cue="brightness", size=networks.SIDE, seed=networks.ATTACKED)
    with_cue = data.do(scenes, intensity=torch.as_tensor(data.scenes.brightness(scenes.labels)))
    against = data.do(scenes, intensity=torch.as_tensor(data.scenes.brightness(3 - scenes.labels)))
    seeds = networks.seeds(p)
    models: dict[str, Sequence[nn.Module]] = {
        "ours": networks.trained(run, of, "two-stage", seeds=seeds, what=", cued"),
        "plain": networks.classifiers(run, replace(of, name="shapes, cued"), seeds=seeds),
    }
    found = {}
    for name, each in models.items():
        both = [
            torch.stack([training.predict(one, test.images).argmax(1) == test.labels for one in each])
            for test in (with_cue, against)
        ]
        found[name] = (both[0], both[1])
    return found


# The released control flow -------------------------------------------------------------------------------


def released(run: Run, of: Sets, model: CausalDiffusion) -> dict[str, Outcomes]:
    """What the rebuilt script's attack sees and what its verdict says, for each reading: latent steps of 1e5
    and of 5e-2, at 8/255 and at the run's eps with clamp and step scaled.
    """
    p, found = run.p, {}
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    sizes = {"8": PRINTED_EPS, "scaled": p.eps}
    for size, eps in sizes.items() if p.all_arms else [("8", PRINTED_EPS)]:
        scale = eps / PRINTED_EPS
        for name, rate in (("1e5", STEEP), ("5e-2", DEFAULT)):
            script = Released(model, rate=rate, clamp=CLAMP * scale, step=STEP * scale)
            asked: dict[str, Any] = {"eps": eps, "steps": p.attack_steps, "draws": p.scored, "seed": p.seed}
            what = f"released control flow, {size}, {name}"
            found[f"{size}-{name}"] = memo(run.store, what, script_seen, script, images, labels, **asked)
    return found


def script_seen(
    script: Released, images: Tensor, labels: Tensor, *, eps: float, steps: int, draws: int, seed: int
) -> Outcomes:
    """Of the released control flow, [n] each: "zero", whether the input gradient is all zeros; "clean",
    whether the attacked path is right on the clean image; "stands", the share of the judged path's draws that
    are right after PGD on the encoder alone.
    """
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(seed)
        x = images.clone().requires_grad_()
        answers = script(x)
        loss = nn.functional.cross_entropy(answers, labels, reduction="sum")
        [gradient] = torch.autograd.grad(loss, x)
    attacked = ascend(
        script.model, images, labels, norm="linf", eps=eps, step=2.5 * eps / steps, steps=steps, seed=seed
    )
    judged = rescore(script, attacked, labels, draws=draws, seed=seed).correct
    return {
        "zero": (gradient.flatten(1) == 0).all(1),
        "clean": answers.argmax(1) == labels,
        "stands": judged.double().mean(0),
    }


# Convergence and controls of the attacks -----------------------------------------------------------------


def doubled(run: Run, of: Sets, arm: str, *, seeds: Sequence[int]) -> dict[str, tuple[Tensor, Tensor]]:
    """The share of right answers under Linf as the run attacks, and with twice the steps, and twice the draws
    behind each gradient: [n] each, on the first half of the images.
    """
    p = run.p
    few = replace(of, attacked=of.attacked.take(slice(max(2, p.n_images // 2))))
    [model] = networks.trained(run, of, arm, seeds=seeds[:1])
    defence = Defence(model, settings(p, of.train.images))
    plain = threat(p, "linf")
    others = {"steps": replace(plain, steps=2 * plain.steps), "draws": replace(plain, draws=2 * plain.draws)}
    once = evaluation.withstood(evaluated(run, few, defence, plain, what="convergence"))["mean"]
    return {
        name: (once, evaluation.withstood(evaluated(run, few, defence, one, what="convergence"))["mean"])
        for name, one in others.items()
    }


def at_eps_one(run: Run, of: Sets, arm: str) -> Tensor:
    """The share of right answers when the attacker may choose the image, eps = 1 in Linf: [n]."""
    p = run.p
    [model] = networks.trained(run, of, arm, seeds=networks.seeds(p)[:1])
    defence = Defence(model, settings(p, of.train.images))
    outcomes = evaluated(run, of, defence, replace(threat(p, "linf"), eps=1.0), what="eps = 1")
    return evaluation.withstood(outcomes)["mean"]


def transferred(run: Run, of: Sets, arm: str) -> list[Tensor]:
    """The share of right answers on images attacked in Linf on the plain network of the same seed: [n] a
    seed.
    """
    p, against = run.p, threat(run.p, "linf")
    images, labels = of.attacked.images.to(run.device), of.attacked.labels.to(run.device)
    own, found, seeds = settings(p, of.train.images), [], networks.seeds(p)
    sources = networks.classifiers(run, of, seeds=seeds)
    for source, model in zip(sources, networks.trained(run, of, arm, seeds=seeds), strict=True):
        attacked = pgd(run, source, images, labels, against)
        right = rescore(Defence(model, own), attacked, labels, draws=p.scored, seed=p.seed).correct
        found.append(right.double().mean(0).cpu())
    return found
