"""The tables of chapter 0 as texts: what is computed elsewhere, laid out. No number is made here."""

from collections.abc import Iterable, Mapping
from typing import Any

from causalnb.attacks import ATTACKS, AttackResult
from causalnb.attacks.panel import Panel
from causalnb.attacks.suites import Evaluation, renamed, steps_of
from causalnb.chapters.bench.conformance import Line
from causalnb.chapters.bench.experiments import Attacked
from causalnb.chapters.bench.networks import Net, Run
from causalnb.fragments import Lines

SIGNS = {"pass": "✓", "fail": "✕", "exempt": "–", "not applicable": "–"}

DEMANDS = (
    (
        "State the threat model: criterion, norm, budget and pixel scale, knowledge, what counts as success",
        "PGD as code; fields of every result",
    ),
    ("The attacker knows the whole defence and the law of its randomness", "chapters with a defence"),
    (
        "Take the worst case of each image over all attacks, not the best row or the mean of rows",
        "every attack on two networks",
    ),
    (
        "Print clean accuracy beside robust accuracy; say of which images a success rate is a share",
        "both counts in every result",
    ),
    (
        "A larger budget is never safer, and an unbounded one leaves chance",
        "panel; every attack on two networks",
    ),
    (
        "Iterated attacks beat the single step, more steps never weaken, and the loss has flattened",
        "panel; every attack on two networks",
    ),
    (
        "White-box attacks beat those without gradients, transfers and noise",
        "panel; every attack on two networks",
    ),
    ("The gradient is alive: not zero, equal to finite differences", "panel"),
    ("A success once found is kept, and confirmed outside the attack", "the contract; panel"),
    ("More than one loss: cross-entropy, a margin, and towards each class", "panel; the suite"),
    (
        "At least one attack without gradients and one that minimises the norm",
        "the suite; every attack on two networks",
    ),
    ("Report restarts and steps; no result hangs on one seed", "settings; panel"),
    ("Read, store and show AutoAttack's warnings", "flags of every result"),
    ("Do not rank a randomised or optimising defence on a list that excludes it", "chapters with a defence"),
    ("A planted vulnerability is found by the unchanged pipeline", "where the truth is known"),
    ("A model without the vulnerability is not reported broken", "conformance suite, line 8"),
    (
        "Attack classifier and detector together; fix the threshold on held-out clean data",
        "chapters with a detector",
    ),
    ("Name the denominator of a detector's rates", "chapters with a detector"),
    (
        "Average over a defence's randomness, and score over many fresh draws",
        "the attacker who knows",
    ),
    (
        "Run a randomised defence with its noise fixed too",
        "`attacks.randomised.Fixed`; chapters with a defence",
    ),
    ("Take a purifier's gradient through all its steps", "chapter 5"),
    ("Say whether a defence is judged once or asked many times", "the attacker who knows"),
    ("Attack the static model under a defence that optimises at test time", "chapter 5"),
    ("Print the sample size and an interval", "every number of this book"),
    ("Choose a checkpoint on validation images, not on the test", "chapter 4"),
    ("Release model, adversarial images, code and logs", "weights, records and store of this book"),
    ("Say what was not tried", "what is open"),
)

KINDS = {
    "fgsm": ("one step", "Goodfellow et al. 2015"),
    "bim": ("steps from the clean image", "Kurakin et al. 2017"),
    "pgd": ("steps from a random point", "Madry et al. 2018"),
    "cw-linf": ("PGD on the margin", "Carlini & Wagner 2017, the loss"),
    "cw": ("minimum norm", "Carlini & Wagner 2017"),
    "ddn": ("minimum norm", "Rony et al. 2019"),
    "deepfool": ("minimum norm", "Moosavi-Dezfooli et al. 2016"),
    "hsj": ("decisions alone", "Chen et al. 2020"),
    "apgd-ce": ("adaptive steps", "Croce & Hein 2020"),
    "apgd-dlr": ("adaptive steps", "Croce & Hein 2020"),
    "apgd-t": ("adaptive steps to each class", "Croce & Hein 2020"),
    "fab-t": ("minimum norm to each class", "Croce & Hein 2020b"),
    "square": ("scores alone", "Andriushchenko et al. 2020"),
    "autoattack": ("a suite", "Croce & Hein 2020"),
    "stadv": ("flow of pixels", "Xiao et al. 2018; our own loop"),
    "transfer": ("another network's gradient", "Papernot et al. 2017"),
    "noise": ("placebo", "aims at nothing"),
}


def demands() -> Lines:
    """The demands by number."""
    return [(str(number), demand, where) for number, (demand, where) in enumerate(DEMANDS, 1)]


def threats(run: Run, nets: Mapping[str, Net]) -> Lines:
    """One line for each network and norm."""
    knows = "everything: weights, preprocessing, gradients"
    lines: Lines = []
    for net in nets.values():
        for norm, eps in (("L-inf", net.eps), ("L2", run.p.eps_l2)):
            lines.append(
                (
                    net.title,
                    norm,
                    f"{eps:g} ({255 * eps:.1f}/255)" if norm == "L-inf" else f"{eps:g}",
                    knows,
                    "any class but the label",
                )
            )
    return lines


def settings(run: Run, net: Net) -> Lines:
    """Every attack of the contract: kind, norms, what it was asked in this page's suite, where it comes
    from.
    """
    suite = {step.name: step.settings for step in steps_of(run.p.suite, norm="linf", eps=net.eps, classes=10)}
    return [
        (
            name,
            KINDS[name][0],
            ", ".join(attack.norms),
            _settings(suite[name]) if name in suite else "not in the suite",
            KINDS[name][1],
        )
        for name, attack in ATTACKS.items()
    ]


def panels(found: Mapping[str, Panel]) -> Lines:
    """Rows against models: sign and number, and why where it fails."""
    names = dict.fromkeys(row.name for panel in found.values() for row in panel)
    at = {(name, row.name): row for name, panel in found.items() for row in panel}
    return [
        (
            row,
            *(
                f"{SIGNS[at[name, row].word]} {at[name, row].sentence}" if (name, row) in at else ""
                for name in found
            ),
        )
        for row in names
    ]


def tested(found: Mapping[str, Panel]) -> Lines:
    """The panel's tests, one line each: for each model whether it holds, or does not apply."""
    names = dict.fromkeys(row.name for panel in found.values() for row in panel)
    signs = {(name, row.name): SIGNS[row.word] for name, panel in found.items() for row in panel}
    return [(row, *(signs.get((name, row), "") for name in found)) for row in names]


def side_by_side(run: Any, of: Mapping[str, Attacked]) -> Lines:
    """Robust accuracy by each attack alone and by the worst case, a column for each network."""
    results = next(iter(of.values())).results

    def shares(attack: str) -> list[str]:
        found = (run.interval(f"robust.{name}.{one.norm}.{attack}") for name, one in of.items())
        return [f"{value:.1%} [{low:.1%}, {high:.1%}]" for value, low, high in found]

    lines = [(renamed(result), KINDS[attack][0], *shares(attack)) for attack, result in results.items()]
    return [*lines, ("worst case", "of those that saw all images", *shares("worst"))]


def attacked(run: Any, name: str, of: Attacked) -> Lines:
    """A line for each attack on one network, and the worst case."""
    lines: Lines = []
    for attack, result in of.results.items():
        value, low, high = run.interval(f"robust.{name}.{of.norm}.{attack}")
        lines.append(
            (
                renamed(result),
                f"{value:.1%} [{low:.1%}, {high:.1%}]",
                "{} of {}".format(*result.success_among_correct),
                _median(result),
                f"{result.queries[0]:,}",
                f"{result.queries[1]:,}",
                f"{result.seconds:.1f}",
            )
        )
    value, low, high = run.interval(f"robust.{name}.{of.norm}.worst")
    return [*lines, ("worst case", f"{value:.1%} [{low:.1%}, {high:.1%}]", "", "", "", "", "")]


def dropped(of: Evaluation) -> Lines:
    """A line for each attack of an evaluation that drops broken images."""
    left, lines, n = int(of.correct.sum()), [], len(of.correct)
    for result, rows in zip(of.results, of.rows, strict=True):
        left -= int(result.found.sum())
        lines.append(
            (
                renamed(result),
                str(len(rows)),
                str(int(result.found.sum())),
                f"{left / n:.1%}",
                f"{result.queries[0]:,}",
                f"{result.queries[1]:,}",
                f"{result.seconds:.1f}",
            )
        )
    return list(lines)


def conformance(lines: Iterable[Line]) -> Lines:
    """Attacks against the fifteen lines."""
    at = {(line.attack, line.number): SIGNS[line.word] for line in lines}
    return [
        (name, *(at.get((name, number), "") for number in range(1, 16)))
        for name in dict.fromkeys(name for name, _ in at)
    ]


def exemptions(lines: Iterable[Line]) -> Lines:
    """Why a line does not bind an attack."""
    return [(f"{line.attack}, {line.number}", line.sentence) for line in lines if line.word == "exempt"]


def _median(result: AttackResult) -> str:
    return f"{float(result.distance.nanmedian()):.3g}" if result.found.any() else ""


def _settings(given: Mapping[str, Any]) -> str:
    return (
        ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in given.items()
        )
        or "none"
    )
