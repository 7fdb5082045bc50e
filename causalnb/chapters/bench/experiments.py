"""The long computations of chapter 0, through the store: every attack on every image, the planted control,
budgets.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import UserError, attacks, data
from causalnb.attacks import AttackResult, ball, evaluate
from causalnb.attacks.adversarial import ascend
from causalnb.attacks.ball import pgd_schedule
from causalnb.attacks.checked import TOLERANCE
from causalnb.attacks.flags import margins
from causalnb.attacks.planted import Control, planted_control
from causalnb.attacks.randomised import Draws, Expectation, rescore
from causalnb.attacks.suites import Evaluation, Step, steps_of
from causalnb.chapters.bench import toys
from causalnb.chapters.bench.networks import Net, Run
from causalnb.data import Images
from causalnb.store import memo

DRAWS = 20
Call = tuple[
    str, float, dict[str, Any], Callable[[Tensor, Tensor], Tensor]
]  # norm, eps, settings, the library's own call
BUDGETS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # in the network's own eps


@dataclass(frozen=True)
class Attacked:
    """Every attack on every image of one network, in one norm: `results` by the name that the table shows."""

    norm: str
    eps: float
    results: Mapping[str, AttackResult]


def drawn(run: Run, n: int | None = None) -> Images:
    """Test images, balanced over the classes."""
    test = run.load(run.p.data, "test")
    return data.draw(test, min(n or run.p.n_images, len(test)), seed=run.p.seed)


def in_linf(run: Run, net: Net, twin: Net) -> Attacked:
    """Noise, a transfer from the twin, the suite's attacks, DeepFool, and HopSkipJump on fewer images: each
    on all its images.
    """
    some, eps = drawn(run), net.eps
    walk = pgd_schedule(eps, run.p.steps)
    suite = steps_of(run.p.suite, norm="linf", eps=eps, classes=len(some.classes))
    found = {
        "noise": kept_attack(run, net, some, "noise", "linf", eps, kind="sign"),
        "transfer": kept_attack(run, net, some, "transfer", "linf", eps, source=twin.model, **walk),
    }
    found |= _each(run, net, some, "linf", eps, suite)
    found["deepfool"] = kept_attack(run, net, some, "deepfool", "linf", eps, steps=50)
    few = drawn(run, run.p.n_decisions)
    found["hsj"] = kept_attack(run, net, few, "hsj", "linf", eps, steps=20 if run.p.suite == "full" else 5)
    return Attacked("linf", eps, found)


def in_l2(run: Run, net: Net) -> Attacked:
    """The attacks that minimise an L2 norm, beside APGD-T at the budget in L2; on 200 images at most."""
    some, eps, full = drawn(run, min(run.p.n_images, 200)), run.p.eps_l2, run.p.suite == "full"
    searches = {
        "steps": 100 if full else 30,
        "binary_search_steps": 6 if full else 3,
        "step": 0.05,
        "initial_const": 1.0,
    }
    suite = (
        Step("apgd-t", {"steps": 100 if full else 20, "n_targets": 9 if full else 3}),
        Step("ddn", {"steps": 200 if full else 50}),
    )
    found = _each(run, net, some, "l2", eps, suite)
    found["cw"] = kept_attack(run, net, some, "cw", "l2", eps, **searches)
    return Attacked("l2", eps, found)


def dropping(run: Run, net: Net) -> Evaluation:
    """The same suite as the book would evaluate a model: the cheap attacks first, broken images dropped."""
    some = drawn(run)
    return evaluate(
        net.model,
        some.images.to(run.device),
        some.labels.to(run.device),
        norm="linf",
        eps=net.eps,
        suite=run.p.suite,
        seed=run.p.seed,
        store=run.store,
    )


def budgets(run: Run, net: Net) -> dict[float, tuple[int, int]]:
    """Robust images by PGD at each budget; an image broken within a smaller budget is broken within every
    larger one.
    """
    some = drawn(run, run.p.n_panel)
    robust = torch.ones(len(some), dtype=torch.bool)
    found = {}
    for factor in BUDGETS:
        eps = min(factor * net.eps, 1.0)
        result = kept_attack(run, net, some, "pgd", "linf", eps, **pgd_schedule(eps, run.p.steps))
        robust &= (result.correct & ~result.found).cpu()
        found[eps] = int(robust.sum()), len(some)
    return found


def first_broken(run: Run, net: Net) -> tuple[AttackResult, int]:
    """PGD on the panel's images, and the first of them that it breaks."""
    some, walk = drawn(run, run.p.n_panel), pgd_schedule(net.eps, run.p.steps)
    result = kept_attack(run, net, some, "pgd", "linf", net.eps, **walk)
    if not result.found.any():
        raise UserError(
            f"eps = {net.eps} is too small for this chapter's pictures: PGD breaks none of its {len(some)} "
            "images there, so give a larger eps, or a larger n_panel."
        )
    return result, int(result.found.nonzero()[0])


def line(run: Run, net: Net, models: Mapping[str, nn.Module], *, places: int = 41) -> dict[str, Any]:
    """What `figures.line` draws: the way from the first drawn image that PGD breaks to its attacked
    version.
    """
    result, row = first_broken(run, net)
    shares = torch.linspace(0, 1, places, device=run.device)
    way = torch.lerp(result.clean[row], result.images[row], shares[:, None, None, None])
    label = result.criterion.labels[row].expand(places)
    with torch.no_grad():
        margin = -margins(net.model(way), label)
    return {
        "shares": shares.tolist(),
        "margins": margin.tolist(),
        "slopes": {name: _slopes(model, way, label) for name, model in models.items()},
    }


def _slopes(model: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    asked = images.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(asked), labels, reduction="sum")
    sizes: list[float] = torch.autograd.grad(loss, asked)[0].flatten(1).norm(dim=1).tolist()
    return sizes


def planted(run: Run, net: Net) -> dict[str, Control]:
    """The planted control of the attacks that the book relies on, each with the settings of its table."""
    some = drawn(run, run.p.n_planted)
    images = some.images.to(run.device)
    walk = pgd_schedule(net.eps, run.p.steps)
    given: dict[str, dict[str, Any]] = {"pgd": walk, "cw-linf": walk, "apgd-ce": {"steps": run.p.steps}}
    return {
        name: memo(
            run.store,
            f"planted control of {name} on {run.p.data}",
            planted_control,
            partial(attacks.run, name, norm="linf", eps=net.eps, seed=run.p.seed, **settings),
            net.model,
            images,
            norm="linf",
            eps=net.eps,
            seed=run.p.seed,
        )
        for name, settings in given.items()
    }


def drawing(
    run: Run, *, n: int = 64, eps: float = 0.1, mean_over: int = 64, steps: int = 20
) -> dict[str, Draws]:
    """A line behind a random wave, scored over fresh draws: clean images, attacked by one draw's gradient,
    and by that of the mean of many.

    Every image lies within 0.6 eps of the line, so that an attack that sees it breaks all.
    """
    line = toys.Line(seed=run.p.seed).to(run.device)
    model = toys.Shattered(line).eval()
    images, labels = toys.halfway(line, n, eps, seed=run.p.seed)
    attack = partial(
        ascend, images=images, labels=labels, norm="linf", eps=eps, steps=steps, step=eps / 4, seed=run.p.seed
    )
    shown = {
        "clean": images,
        "gradient of one draw": attack(model),
        f"gradient of the mean of {mean_over}": attack(Expectation(model, mean_over)),
    }
    return {name: rescore(model, some, labels, draws=DRAWS, seed=run.p.seed) for name, some in shown.items()}


def kept_attack(
    run: Run, net: Net, some: Images, name: str, norm: str, eps: float | None, **settings: Any
) -> AttackResult:
    """One attack on the images that are right, kept in the store."""
    images, labels = some.images.to(run.device), some.labels.to(run.device)
    asked = {"norm": norm, "eps": eps, "seed": run.p.seed, **settings}
    return memo(run.store, f"{name} on {net.name}", attacks.run, name, net.model, images, labels, **asked)


def _each(
    run: Run, net: Net, some: Images, norm: str, eps: float, suite: tuple[Step, ...]
) -> dict[str, AttackResult]:
    """Each attack of a suite by its name."""
    return {step.name: kept_attack(run, net, some, step.name, norm, eps, **step.settings) for step in suite}


# Called directly ------------------------------------------------------------------------------------------


def directly(run: Run, net: Net) -> dict[str, tuple[int, int]]:
    """Images on which `run` and the libraries called as their manuals say differ in the verdict, and of how
    many.

    pyautoattack draws alike for the same seed, order and chunk. foolbox's PGD draws from a stream of its own:
    an image on which it differs counts only where APGD-T, which is stronger, leaves it standing.
    """
    some = drawn(run, min(run.p.n_images, 50))
    images, labels = some.images.to(run.device), some.labels.to(run.device)
    calls = {**_pyautoattack(run, net), **_foolbox(run, net)}
    found = {}
    for name, (norm, eps, settings, call) in calls.items():
        ours = kept_attack(run, net, some, name, norm, eps, **settings)
        rows = ours.correct.nonzero().flatten()
        theirs = torch.cat([call(images[part], labels[part]) for part in torch.split(rows, 128)])
        with torch.no_grad():
            differ = (net.model(theirs).argmax(dim=1) != labels[rows]) != ours.found[rows]
        if name in ("pgd", "ddn"):
            differ &= ~kept_attack(run, net, some, "apgd-t", norm, eps, **calls["apgd-t"][2]).found[rows]
        found[name] = int(differ.sum()), len(rows)
    return found


def _pyautoattack(run: Run, net: Net) -> dict[str, Call]:
    import pyautoattack

    full = run.p.suite == "full"
    attack = pyautoattack.AutoAttack(
        net.model, norm="Linf", eps=net.eps, seed=run.p.seed, device=run.device, version="standard"
    )
    steps = attack.fab.n_iter = 100 if full else 10
    attack.apgd_targeted = type(attack.apgd_targeted)(
        net.model, n_iter=steps, norm="Linf", eps=net.eps, seed=run.p.seed, device=run.device
    )
    attack.square.n_queries, attack.square.rescale_schedule = (5000, False) if full else (100, True)
    attack.fab.targeted = True
    return {
        "apgd-t": ("linf", net.eps, {"steps": steps}, attack.apgd_targeted.perturb),
        "fab-t": ("linf", net.eps, {"steps": steps}, attack.fab.perturb),
        "square": (
            "linf",
            net.eps,
            {"queries": attack.square.n_queries, "rescale": attack.square.rescale_schedule},
            attack.square.perturb,
        ),
    }


def _foolbox(run: Run, net: Net) -> dict[str, Call]:
    import foolbox

    library: Any = foolbox
    steps, restarts = (200, 5) if run.p.suite == "full" else (20, 2)
    walk = {**pgd_schedule(net.eps, steps), "restarts": restarts}
    pgd = library.attacks.LinfPGD(steps=steps, abs_stepsize=walk["step"]).repeat(restarts)
    ddn = library.attacks.DDNAttack(steps=steps)

    def called(
        attack: Any, norm: str, eps: float, epsilons: float | None, images: Tensor, labels: Tensor
    ) -> Tensor:
        model = library.PyTorchModel(deepcopy(net.model), bounds=(0, 1), device=run.device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(run.p.seed)
            attacked: Tensor = attack(model, images, labels, epsilons=epsilons)[1]
        near = ball.distance(images, attacked, norm) <= eps + TOLERANCE
        return torch.where(ball.aligned(near, images), attacked, images)

    l2 = run.p.eps_l2
    return {
        "pgd": ("linf", net.eps, walk, partial(called, pgd, "linf", net.eps, net.eps)),
        "ddn": ("l2", l2, {"steps": steps}, partial(called, ddn, "l2", l2, None)),
    }
