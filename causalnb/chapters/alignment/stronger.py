"""What else is asked of the trained networks of chapter 4: whether the attack works at all, more steps,
images of other networks, an attack that knows the style head, and where in KL a difference sits (Fig. 3).
Through the store.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from causalnb import attacks, training
from causalnb.attacks.planted import Control, planted_control
from causalnb.attacks.suites import evaluate
from causalnb.attacks.watch import preserved_state
from causalnb.chapters.alignment import experiments
from causalnb.chapters.alignment.arms import ARMS
from causalnb.chapters.alignment.experiments import Attacks, Compared, Scores
from causalnb.chapters.alignment.heads import Tap, tapped
from causalnb.chapters.alignment.networks import Run, setting
from causalnb.chapters.alignment.objectives import Ball, CausalAdv
from causalnb.data import Images
from causalnb.statistics import Floats
from causalnb.store import memo

PLANTED = 50  # images for the planted control
LONG = 500
WEIGHTS = (0.0, 0.2, 0.5, 0.8, 1.0)  # of the style term in an adaptive attack
SOURCES = 50_000  # first seed of networks whose images are shown to others


def drawn(run: Run, name: str, n: int | None = None) -> Images:
    """The first of the run's test images, on its device; `n_knowing` of them where no number is given."""
    some = experiments.images(run, name)[1].take(slice(n or run.p.n_knowing))
    return Images(
        some.name,
        some.split,
        some.images.to(run.device),
        some.labels.to(run.device),
        some.classes,
        some.digest,
    )


def planted(run: Run, name: str, found: Compared) -> Control:
    """The planted control of the chapter's PGD, on Madry's first network."""
    how, model = setting(run, name), experiments.network(run, name, found.scores["at"][0])
    steps, step = how.strong
    ball: dict[str, Any] = {"norm": how.ball.norm, "eps": how.ball.eps}
    pgd = partial(attacks.run, "pgd", **ball, steps=steps, step=step, seed=run.p.seed)
    some = drawn(run, name, PLANTED)
    what = f"planted control on {name}"
    return memo(run.store, what, planted_control, pgd, model, some.images, **ball, seed=run.p.seed)


def long(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball) -> Tensor:
    """[n] whether an image is right under PGD with `ball`, broken at any of its steps or not."""
    walk: dict[str, Any] = {"steps": ball.steps, "step": ball.step}
    result = attacks.run(
        "pgd", model, images, labels, norm=ball.norm, eps=ball.eps, seed=0, stop=True, **walk
    )
    return result.correct & ~result.found


def longer(run: Run, name: str, found: Compared) -> tuple[Floats, Floats]:
    """[seeds, n] whether M is right under the chapter's PGD, and under 500 steps of the same length."""
    how, some = setting(run, name), drawn(run, name)
    ball = Ball(how.ball.eps, how.strong[1], LONG, how.ball.norm)
    rows = [
        memo(run.store, f"PGD-500 of m on {name}", long, model, some.images, some.labels, ball)
        for model in _networks(run, name, found.scores["m"])
    ]
    return found.right("m", "pgd")[:, : len(some)], torch.stack(rows).cpu().double().numpy()


def _networks(run: Run, name: str, scores: Sequence[Scores]) -> list[nn.Module]:
    return [experiments.network(run, name, one) for one in scores]


def sources(run: Run, name: str) -> dict[str, list[Scores]]:
    """Two plain trainings and one of Madry's, with seeds set apart: whose images are shown to others."""
    train, test = experiments.images(run, name)
    asked = [("standard", SOURCES), ("standard", SOURCES + 1), ("at", SOURCES)]
    nothing = Attacks(setting(run, name).ball.eps, 1, 0.0, columns=())
    jobs = [experiments.job(run, name, arm, seed, train, test, nothing) for arm, seed in asked]
    made: dict[str, list[Scores]] = {}
    for (arm, _), one in zip(asked, experiments.all_scores(run, jobs), strict=True):
        made.setdefault(arm, []).append(one)
    return made


def transferred(
    model: nn.Module, source: nn.Module, images: Tensor, labels: Tensor, ball: Ball
) -> tuple[Tensor, Tensor]:
    """[n] whether an image is right clean, and under what PGD made of it on another network."""
    walk: dict[str, Any] = {"steps": ball.steps, "step": ball.step}
    result = attacks.run(
        "transfer", model, images, labels, norm=ball.norm, eps=ball.eps, seed=0, source=source, **walk
    )
    return result.correct, result.correct & ~result.found


def transfers(run: Run, name: str, found: Compared) -> tuple[dict[str, Floats], tuple[int, int]]:
    """[seeds, n] whether M is right under images of a plain and of an adversarially trained network, by
    source; and of the images that the plain source's twin gets right, how many fool it.
    """
    how, some = setting(run, name), drawn(run, name)
    ball = Ball(how.ball.eps, how.strong[1], how.strong[0], how.ball.norm)
    made = {arm: _networks(run, name, scores) for arm, scores in sources(run, name).items()}

    def of(model: nn.Module, source: nn.Module) -> tuple[Tensor, Tensor]:
        what = f"transfer on {name}"
        return memo(run.store, what, transferred, model, source, some.images, some.labels, ball)

    right = {
        arm: torch.stack([of(model, made[arm][0])[1] for model in _networks(run, name, found.scores["m"])])
        for arm in ("standard", "at")
    }
    correct, robust = of(made["standard"][1], made["standard"][0])
    fooled = int(correct.sum()) - int(robust.sum())
    return {arm: one.cpu().double().numpy() for arm, one in right.items()}, (fooled, int(correct.sum()))


def standard(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball) -> Tensor:
    """[n] whether an image is right under AutoAttack, its standard suite."""
    made = evaluate(model, images, labels, norm=ball.norm, eps=ball.eps, suite="standard", seed=0)
    return made.robust


def standards(run: Run, name: str, found: Compared) -> dict[str, Floats]:
    """[n] whether the first network of each arm is right under AutoAttack, by arm."""
    how, some = setting(run, name), drawn(run, name, run.p.n_auto)
    work = {arm: experiments.network(run, name, scores[0]) for arm, scores in found.scores.items()}
    right = {
        arm: memo(run.store, f"AutoAttack on {name}", standard, model, some.images, some.labels, how.ball)
        for arm, model in work.items()
    }
    return {arm: one.cpu().double().numpy() for arm, one in right.items()}


def adaptive(
    model: nn.Module, loss: CausalAdv, images: Tensor, labels: Tensor, ball: Ball, weights: tuple[float, ...]
) -> Tensor:
    """[weights, n] whether an image is right at the end of PGD on (1 - a) CE(h(x), y) + a CE(g(mu(x)), y),
    summed image by image, for each a; at 0 it is plain PGD. Each has a start of its own.
    """
    rows = []
    basis, part = loss.part(model)
    for number, weight in enumerate(weights):
        with tapped(model) as tap, preserved_state(loss.g, images.device, number):

            def objective(logits: Tensor, weight: float = weight, tap: Tap = tap) -> Tensor:
                style = loss.g(part(tap.features[: len(labels)], basis))
                own = cross_entropy(logits, labels, reduction="none")
                return (1 - weight) * own + weight * cross_entropy(style, labels, reduction="none")

            ends = ball.end(model, images, labels, number, objective)
        rows.append(training.predict(model, ends).argmax(1) == labels)
    return torch.stack(rows)


def adaptives(run: Run, name: str, found: Compared) -> tuple[Floats, Floats]:
    """[seeds, n] whether M is right under all of five starts of PGD, and under all of five weights of the
    style term.
    """
    how, some = setting(run, name), drawn(run, name)
    ball = Ball(how.ball.eps, how.strong[1], how.strong[0], how.ball.norm)
    kept: dict[str, list[Tensor]] = {"plain": [], "style": []}
    for one in found.scores["m"]:
        model = experiments.network(run, name, one)
        loss = experiments.style_loss(run, name, "m", model, one)
        for kind, weights in (("plain", (0.0,) * len(WEIGHTS)), ("style", WEIGHTS)):
            what = f"adaptive attack on {name}, {kind}"
            right = memo(run.store, what, adaptive, model, loss, some.images, some.labels, ball, weights)
            kept[kind].append(right.all(0))
    plain, style = (torch.stack(rows).cpu().double().numpy() for rows in kept.values())
    return plain, style


def divergences(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball) -> tuple[Tensor, Tensor]:
    """[n] KL of the clean prediction from that at the end of PGD, and whether that end is right (App. F)."""
    ends = ball.end(model, images, labels, 0)
    clean, attacked = (training.predict(model, one).log_softmax(1) for one in (images, ends))
    return (clean.exp() * (clean - attacked)).sum(1), attacked.argmax(1) == labels


def bins(run: Run, name: str, found: Compared) -> dict[str, Floats]:
    """M less Madry in the upper five of ten bins of equal size by KL: "own", [seeds, n], each by its own
    network's KL, each image counted twice where it lies in the upper half; "reference", [seeds, n / 2], on
    the images that lie there by the KL of Madry's first network.
    """
    how, some = setting(run, name), drawn(run, name, run.p.n_images)
    ball = Ball(how.ball.eps, how.strong[1], how.strong[0], how.ball.norm)
    n = len(some) // 2 * 2
    made: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for arm in ("m", "at"):
        for model in _networks(run, name, found.scores[arm]):
            what = f"divergences on {name}"
            kl, right = memo(run.store, what, divergences, model, some.images[:n], some.labels[:n], ball)
            made.setdefault(arm, []).append((kl.cpu(), right.cpu().double()))
    upper = made["at"][0][0].argsort()[n // 2 :]
    own, reference = [], []
    for (m_kl, m), (at_kl, at) in zip(made["m"], made["at"], strict=True):
        top = [torch.zeros(n).index_fill(0, kl.argsort()[n // 2 :], 2.0) for kl in (m_kl, at_kl)]
        own.append(top[0] * m - top[1] * at)
        reference.append((m - at)[upper])
    return {"own": torch.stack(own).numpy(), "reference": torch.stack(reference).numpy()}


def by_bin(run: Run, name: str, found: Compared) -> dict[str, Floats]:
    """[10] accuracy under PGD of Madry's training and of M in ten bins of equal size by their own KL, the
    smallest first, over all seeds.
    """
    how, some = setting(run, name), drawn(run, name, run.p.n_images)
    ball = Ball(how.ball.eps, how.strong[1], how.strong[0], how.ball.norm)
    n = len(some) // 2 * 2
    made = {}
    for arm in ("at", "m"):
        rows = []
        for model in _networks(run, name, found.scores[arm]):
            what = f"divergences on {name}"
            kl, right = memo(run.store, what, divergences, model, some.images[:n], some.labels[:n], ball)
            ordered = right.cpu().double()[kl.cpu().argsort()]
            rows.append(torch.stack([one.mean() for one in ordered.tensor_split(10)]))
        made[ARMS[arm].title] = torch.stack(rows).mean(0).numpy()
    return made
