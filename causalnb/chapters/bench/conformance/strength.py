"""Lines on what an attack finds: known optima, planted examples, the same verdicts where nothing that matters
has changed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn

from causalnb.attacks import ball
from causalnb.attacks.contract import run
from causalnb.attacks.planted import Control, planted_control
from causalnb.attacks.results import AttackResult
from causalnb.chapters.bench import toys
from causalnb.chapters.bench.conformance.cases import (
    SEED,
    TRIALS,
    ConformanceCase,
    Outcome,
    Path,
    Subject,
    Wider,
    bordered,
    features,
    linear,
    some,
)

MOVED = 1e-4  # what counts as a change of a pixel
PASSES = 20_000  # for one image that cannot be broken


def scale(case: ConformanceCase) -> Outcome:
    """3: logits + 50 and logits x 1000 decide alike: at most one verdict of robust accuracy may move."""
    broken = [
        _broken(case.behind(toys.Scaled(nn.Identity(), *change))) for change in ((1.0, 50.0), (1000.0, 0.0))
    ]
    plain = _broken(case.base)
    worst = max(abs(plain - each) for each in broken)
    return Outcome(
        worst <= 1,
        worst,
        f"{plain} of {case.base.success_among_correct[1]} broken, {broken[0]} at logits + 50, {broken[1]} "
        "at logits x 1000",
    )


def heads(case: ConformanceCase) -> Outcome:
    """4: behind log_softmax all is the same, behind softmax the same or flagged."""
    plain, log, soft = case.base, case.behind(nn.LogSoftmax(dim=1)), case.behind(nn.Softmax(dim=1))
    apart = abs(_broken(plain) - _broken(log))
    flagged = any(flag.startswith("softmax outputs") for flag in soft.flags)
    good = apart <= 1 and (flagged or abs(_broken(plain) - _broken(soft)) <= 1)
    return Outcome(
        good,
        apart,
        f"{_broken(plain)} of {plain.success_among_correct[1]} broken, {_broken(log)} behind log_softmax, "
        f"{_broken(soft)} behind "
        f"softmax, {'flagged' if flagged else 'not flagged'}",
    )


def optimum(case: ConformanceCase) -> Outcome:
    """7: on a linear model a minimum-norm attack comes near the least distance, another breaks at 1.01 of it
    and not at 0.99.
    """
    subject = linear(max(case.trial.classes, 4))
    if case.trial.norm == "flow":
        return _warped(case, subject)
    return _nearest(case, subject) if case.attack.minimum_norm else _threshold(case, subject)


def _nearest(case: ConformanceCase, subject: Subject) -> Outcome:
    worst, found, of = 0.0, 0, len(subject.images) * len(case.attack.norms)
    for norm in case.attack.norms:
        result = case.on(subject, free=True, norm=norm, **_exactly(case, subject, 1.0))
        found += int(result.found.sum())
        worst = max(worst, float((result.distance / subject.exact[norm] - 1).nan_to_num().max()))
    good = found == of and worst <= case.trial.within
    return Outcome(
        good,
        worst,
        f"{found} of {of} found in {' and '.join(case.attack.norms)}, at most {worst:.2%} farther than need "
        "be",
    )


def _threshold(case: ConformanceCase, subject: Subject) -> Outcome:
    norms = case.attack.norms if case.trial.exactly else (case.trial.norm,)
    inside = beyond = 0
    for norm in norms:
        near, far = (factor * float(subject.exact[norm][0]) for factor in (0.99, 1.01))
        inside += _broken(case.on(subject, eps=near, norm=norm, **_exactly(case, subject, near)))
        beyond += _broken(case.on(subject, eps=far, norm=norm, **_exactly(case, subject, far)))
    of = len(norms) * len(subject.images)
    return Outcome(
        inside == 0 and beyond == of,
        beyond,
        f"{beyond} of {of} broken at 1.01 of the least distance, {inside} at 0.99, in {' and '.join(norms)}",
        excusable=inside == 0,
    )


def _warped(case: ConformanceCase, subject: Subject) -> Outcome:
    result = case.on(subject, eps=1.0)
    times = float(
        (ball.distance(result.clean, result.images, "l2") / subject.exact["l2"])[result.found].median()
    )
    return Outcome(
        False,
        times,
        f"flows of a pixel break {_broken(result)} of {len(subject.images)}, with changes {times:.1f} times "
        "the least in L2",
    )


def _exactly(case: ConformanceCase, subject: Subject, eps: float) -> dict[str, Any]:
    return _from(subject, (case.trial.exactly or case.trial.settings)(eps))


def _from(subject: Subject, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, where a transfer comes from the subject's model itself."""
    return settings | ({"source": subject.model} if "source" in settings else {})


def controls(case: ConformanceCase) -> Outcome:
    """8: planted adversarial examples are found; a constant model is never broken, and the search ends."""
    broken, of = case.unbroken.success_among_correct
    passes = case.unbroken.queries[0] / of
    still = broken == 0 and passes <= PASSES
    unbreakable = f"{broken} of {of} broken where nothing moves the model, after {passes:.0f} passes for each"
    if case.trial.norm == "flow":
        return Outcome(False, broken, f"no points to plant; {unbreakable}", excusable=still)
    control = _planted(case)
    return Outcome(
        control.passed and still,
        control.attack[0],
        f"{control.attack[0]} of {control.attack[1]} planted images broken, {control.random[0]} by random "
        f"search; {unbreakable}",
        excusable=still,
    )


def _planted(case: ConformanceCase) -> Control:
    """The planted control; its seed is another than the attack's, or noise would draw the planted point
    itself.
    """
    eps = {"linf": 0.1, "l2": 0.4}[case.trial.norm]

    def attack(model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
        subject = Subject(Wider(model, max(case.trial.classes, 4)).eval(), images, labels)
        return case.on(subject, eps=eps, **_from(subject, case.trial.settings(eps)))

    ground = features()
    return planted_control(
        attack, ground.model, ground.images, norm=case.trial.norm, eps=eps, seed=SEED + 1, inner=60
    )


def stronger(case: ConformanceCase) -> Outcome:
    """9: with more steps, more restarts or a larger budget a model is never more robust."""
    kinds = {"half the budget": case.on(case.network, eps=case.trial.eps / 2)}
    if case.trial.less is not None:
        kinds[" ".join(f"{key} = {value}" for key, value in case.trial.less.items())] = case.on(
            case.network, **case.trial.less
        )
    best = _broken(case.base)
    if case.attack.restarts:
        again = _broken(case.on(case.network, restarts=2))
        best = min(best, again)
        kinds["one restart"] = case.base
    lost = max(_broken(weaker) for weaker in kinds.values()) - best
    return Outcome(
        lost <= 0,
        max(lost, 0),
        f"{best} of {case.base.success_among_correct[1]} broken, "
        + ", ".join(f"{_broken(weaker)} with {kind}" for kind, weaker in kinds.items()),
    )


def path(case: ConformanceCase) -> Outcome:
    """10: the steps can cross the ball, 2 eps, or a flag says that they cannot."""
    eps = case.trial.eps
    settings = case.trial.settings(eps)
    if {"step", "steps"} <= settings.keys() and not case.attack.minimum_norm:
        short, long = (case.on(case.network, steps=2, step=share * eps).flags for share in (0.9, 1.0))
        flagged = any(flag.startswith("short path") for flag in short)
        return Outcome(
            flagged and not long,
            len(short),
            f"two steps of 0.9 eps are {'flagged' if flagged else 'not flagged'}, two of eps "
            f"{'too' if long else 'not'}",
        )
    model = Path(case.network.model, case.trial.norm)
    easiest = int(case.base.distance.nan_to_num(torch.inf).argmin())
    case.on(replace(some(case.network, [easiest]), model=model))
    return Outcome(
        model.length >= 2 * eps,
        model.length / eps,
        f"the iterates of one image travel {model.length / eps:.1f} eps, 2 would cross the ball",
    )


def border(case: ConformanceCase) -> Outcome:
    """11: pixels at exactly 0 and 1 can move: more than half of them do where moving each one inwards
    helps.
    """
    norm = "l2" if "l2" in case.attack.norms and case.name != "noise" else case.trial.norm
    subject = bordered(max(case.trial.classes, 4))
    eps = 1.0 if norm == "flow" else 2.5 * float(subject.exact[norm][0])
    result = case.on(subject, eps=eps, norm=norm, **_from(subject, case.trial.settings(eps)))
    moved = ((result.images - result.clean).abs() > MOVED)[result.found].double().mean()
    share = float(moved.nan_to_num(0.0))
    return Outcome(
        share > 0.5,
        share,
        f"{share:.0%} of the pixels at 0 or 1 change in {_broken(result)} successes in {norm}",
    )


def rival(case: ConformanceCase) -> Outcome:
    """12: an attack of another library agrees on what is broken: McNemar's exact test on the discordant
    images from 0.05.
    """
    norm, eps = case.trial.norm, case.trial.eps
    if norm == "flow":
        return Outcome(
            False,
            _broken(case.base),
            f"{_broken(case.base)} of {case.base.success_among_correct[1]} broken, compared with none",
        )
    trial = TRIALS[case.trial.rival]
    network = case.network
    other = run(
        case.trial.rival,
        network.model,
        network.images,
        network.labels,
        norm=norm,
        eps=eps,
        seed=SEED,
        **trial.settings(eps),
    )
    alone, missed = int((case.base.found & ~other.found).sum()), int((other.found & ~case.base.found).sum())
    p = stats.binomtest(alone, alone + missed).pvalue if alone + missed else 1.0
    return Outcome(
        p >= 0.05,
        alone + missed,
        f"{alone} images broken by it alone and {missed} by {case.trial.rival} alone of "
        f"{case.base.success_among_correct[1]}, p = {p:.2g}",
    )


def _broken(result: AttackResult) -> int:
    return result.success_among_correct[0]


LINES: dict[int, Callable[[ConformanceCase], Outcome]] = {
    3: scale,
    4: heads,
    7: optimum,
    8: controls,
    9: stronger,
    10: path,
    11: border,
    12: rival,
}
