"""What the record of chapter 0 holds: experiments in, estimates out by measurement id."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from causalnb import statistics
from causalnb.attacks import AttackResult
from causalnb.attacks.panel import Panel
from causalnb.attacks.planted import Control
from causalnb.attacks.randomised import Draws
from causalnb.attacks.suites import Evaluation, worst_case
from causalnb.chapters.bench.conformance import Line
from causalnb.chapters.bench.experiments import Attacked
from causalnb.chapters.bench.networks import Net, Run
from causalnb.chapters.bench.traps import Trap
from causalnb.statistics import Estimates, exact, logic, proportion


def accuracies(run: Run, nets: Mapping[str, Net]) -> Estimates:
    """Clean test accuracy of each network after its last epoch."""
    n = len(run.load(run.p.data))
    return {
        f"accuracy.{name}": proportion(round(net.curve[-1].item() * n), n, seeds=(run.p.seed,))
        for name, net in nets.items()
    }


def panels(found: Mapping[str, Panel]) -> Estimates:
    """Whether each row of each panel holds, where it applies; how many fail; and whether the panel as a whole
    lets the model pass.
    """
    rows = {
        f"panel.{name}.{row.name}": logic(row.word == "pass")
        for name, panel in found.items()
        for row in panel
        if row.word != "not applicable"
    }
    whole = {f"panel.{name}": logic(not panel.failed) for name, panel in found.items()}
    failed = {
        f"failed.{name}": exact(
            float(len(panel.failed)), n=sum(row.word != "not applicable" for row in panel)
        )
        for name, panel in found.items()
    }
    return rows | whole | failed | {"masked.noticed": logic(bool(found["masked"].failed))}


def robustness(run: Run, name: str, attacked: Attacked) -> Estimates:
    """Robust accuracy by each attack alone, and of the worst case of each image over those that saw all
    images.
    """
    found = {
        attack: proportion(*one.robust_accuracy, seeds=(run.p.seed,))
        for attack, one in attacked.results.items()
    }
    robust = worst_case(on_all(attacked))
    found["worst"] = proportion(int(robust.sum()), len(robust), seeds=(run.p.seed,))
    return {f"robust.{name}.{attacked.norm}.{attack}": estimate for attack, estimate in found.items()}


def on_all(attacked: Attacked) -> list[AttackResult]:
    """The results on all images; HopSkipJump sees fewer."""
    n = max(len(one.found) for one in attacked.results.values())
    return [one for one in attacked.results.values() if len(one.found) == n]


def comparisons(name: str, attacked: Attacked, dropped: Evaluation) -> Estimates:
    """Shares of images that a weaker attack breaks and none of four iterated ones does, and those on which
    dropping changes the worst case; and how many times fewer passes forward and backward dropping takes than
    each attack on all images."""
    of = attacked.results
    white = torch.stack([of[attack].found for attack in ("pgd", "cw-linf", "apgd-ce", "apgd-t")]).any(dim=0)
    suite = [one for attack, one in of.items() if attack in {result.name for result in dropped.results}]
    checks = {
        "iterated": _only(of["fgsm"].found, white),
        "noise": _only(of["noise"].found, white),
        "transfer": _only(of["transfer"].found, white),
        "square": _only(of["square"].found, white),
        "dropping": int((worst_case(suite) != dropped.robust).sum()),
    }
    asked = sum(sum(one.queries) for one in suite) / sum(sum(one.queries) for one in dropped.results)
    return {
        f"only.{name}.{what}": exact(count / len(white), n=len(white)) for what, count in checks.items()
    } | {f"passes.{name}": exact(asked)}


def _only(first: Tensor, second: Tensor) -> int:
    """Images that the first finds and the second does not."""
    return int((first & ~second).sum())


def budgets(run: Run, curves: Mapping[str, Mapping[float, tuple[int, int]]]) -> Estimates:
    """Robust accuracy by budget; what is left at the largest."""
    found: Estimates = {}
    for name, points in curves.items():
        found |= {
            f"budget.{name}.{eps:.3f}": proportion(*of, seeds=(run.p.seed,)) for eps, of in points.items()
        }
        found[f"unbounded.{name}"] = proportion(*points[max(points)], seeds=(run.p.seed,))
    return found


def planted(run: Run, controls: Mapping[str, Control]) -> Estimates:
    """Planted examples found, by each attack and, with as many queries, by random search: where that found
    most.
    """
    luckiest = max((control.random for control in controls.values()), key=lambda of: of[0])
    found = {**{name: control.attack for name, control in controls.items()}, "random": luckiest}
    return {f"planted.{name}": proportion(*of, seeds=(run.p.seed,)) for name, of in found.items()}


def directly(found: Mapping[str, Mapping[str, tuple[int, int]]]) -> Estimates:
    """The share of verdicts that differ between `run` and the library called directly."""
    return {
        f"direct.{name}.{attack}": exact(differ / n, n=n)
        for name, of in found.items()
        for attack, (differ, n) in of.items()
    }


def traps(
    found: Iterable[Trap],
    black: int,
    flat: Mapping[str, int],
    saturated: Mapping[str, tuple[int, int]],
    n: int,
) -> Estimates:
    """What the libraries say and what is so, as counts of images."""
    counts = {
        f"trap.{trap.id}.{word}": exact(float(value), n=trap.n)
        for trap in found
        for word, value in (("said", trap.said), ("true", trap.true))
    }
    heads = {f"trap.T1.{name.replace(' ', '')}": exact(float(count), n=n) for name, count in flat.items()}
    scales = {
        f"trap.A4.{name.replace(' ', '')}.{attack}": exact(float(count), n=n)
        for name, both in saturated.items()
        for attack, count in zip(("ce", "t"), both, strict=True)
    }
    return counts | heads | scales | {"trap.F1.black": exact(float(black), n=n)}


def random_model(scores: Mapping[str, Draws]) -> Estimates:
    """A model that draws at random: accuracy over draws by how it was attacked, and by how much one draw's
    gradient overrates it.
    """
    clean, once, mean = (one.correct.double().mean(dim=0).numpy() for one in scores.values())
    return {
        "draws.clean": statistics.mean(clean),
        "draws.once": statistics.mean(once),
        "draws.mean": statistics.mean(mean),
        "draws.overrated": statistics.paired_difference(once, mean),
        "draws.n": exact(float(len(next(iter(scores.values())).correct))),
    }


def conformance(lines: Iterable[Line]) -> Estimates:
    """How many lines of the conformance suite fail, and how many are exempt."""
    words = [line.word for line in lines]
    return {
        f"conformance.{word}": exact(float(words.count(word)), n=len(words)) for word in ("fail", "exempt")
    }
