"""What is seen of the half from pixels: curves over the budget, areas with their intervals, tables. Estimates
in, figures and lines of text out; nothing is computed.
"""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from causalnb import plots
from causalnb.chapters.counterfactual.attacked import DEFENCES, SETS, TITLES
from causalnb.chapters.counterfactual.detectors import ABLATIONS, BASELINES, STRATEGIES, UNION
from causalnb.plots import Interval
from causalnb.statistics import Estimate

Found = Mapping[str, Estimate]
Lines = list[tuple[str, ...]]
NAMES = {
    "S1": "S1, causal filters",
    "S2.rho": "S2, ρ with prototype",
    "S3.0": "S3, zero filters",
    "S4.10_30": "S4, common top 10/30",
    UNION: "the four together",
    "softmax": "largest softmax",
    "margin": "lead over runner-up",
    "energy": "energy",
    "squeezing": "feature squeezing",
    "mahalanobis": "Mahalanobis, last layer",
    "odds": "log-odds under noise",
    "density": "kernel density",
    "rho.g": "ρ of responses",
    "rho.gW": "ρ of responses x weights",
    "rho.gW.runner": "ρ of votes on the lead",
    "rho.gradient": "ρ of gradient x activation",
    "planted": "planted, random",
    "none": "no detector",
}
HOW = {
    "plain": "PGD, plain",
    "matched": "features matched",
    "aimed": "every target",
    "own": "attack on it",
    "orthogonal": "orthogonal steps",
}
GROWN = ("plain", "matched", "own", "orthogonal")
DRAWN = ("none", UNION, "softmax", "mahalanobis")
PARTED = ("all", "successes", "correct")


def curves(found: Found, data: str, budgets: Sequence[float]) -> Figure:
    """Of the images that are right, how many are fooled and not flagged, over the budget: a panel for each
    attack, a line for each detector.
    """
    panels: dict[str, dict[str, plots.Curve]] = {}
    for how in ("plain", "matched"):
        lines: dict[str, plots.Curve] = {}
        for name in DRAWN:
            every = {eps: found.get(f"evade.{data}.{how}.{eps:g}.{name}") for eps in budgets}
            points = {eps: one.interval for eps, one in every.items() if one}
            if points:
                lines[NAMES[name]] = points
        if lines:
            panels[f"{HOW[how]}: fooled, not flagged"] = lines
    return plots.curves(panels, x="budget, of 255", limits=(0.0, 1.02))


def areas(found: Found, data: str, attacks: Sequence[str], eps: float) -> Figure:
    """AUC of every detector under some attacks at one budget; dashed, chance."""
    panels: dict[str, dict[str, dict[str, float | Interval]]] = {}
    for attack in attacks:
        rows: dict[str, dict[str, float | Interval]] = {}
        for name in (*STRATEGIES.values(), UNION, *ABLATIONS, *BASELINES):
            if one := found.get(f"detect.{data}.{attack}.{eps:g}.{name}.auc"):
                rows[NAMES[name]] = {"AUC": one.interval}
        if rows:
            panels[TITLES[attack]] = rows
    return plots.intervals(panels, x="AUC", at=dict.fromkeys(panels, (0.5,)), limits=(0.0, 1.02))


def equal_confidence(found: Found, data: str, attack: str, eps: float) -> Figure:
    """AUC among all images, and among images of like confidence alone."""
    rows: dict[str, dict[str, float | Interval]] = {}
    for name in (*STRATEGIES.values(), UNION, *ABLATIONS, "mahalanobis", "density"):
        inside = found.get(f"strata.{data}.{attack}.{eps:g}.{name}")
        everywhere = found.get(f"detect.{data}.{attack}.{eps:g}.{name}.auc")
        if inside and everywhere:
            rows[NAMES[name]] = {"all images": everywhere.interval, "like confidence": inside.interval}
    title = f"{TITLES[attack]}, {eps:g} of 255"
    return plots.intervals({title: rows}, x="AUC", at={title: (0.5,)}, limits=(0.0, 1.02))


# Tables --------------------------------------------------------------------------------------------------


def told(found: Found, id: str, form: str = ".2f") -> str:
    """A value with the ends of its interval; a dash where nothing was measured."""
    one = found.get(id)
    if one is None:
        return "–"
    ends = f" ({one.low:{form}} to {one.high:{form}})" if one.low is not None and one.high is not None else ""
    return f"{one.value:{form}}{ends}"


def accepted(found: Found, printed: Mapping[str, str], data: str) -> Lines:
    """Table 2: what is printed, and the shares of our images that strategy 2 accepts.

    printed   the ledger's text of each cell, by row id
    """
    return [
        (
            TITLES.get(name, "clean"),
            printed.get(f"t2.{name}", "–"),
            *(told(found, f"t2.{data}.{name}.{rows}") for rows in PARTED),
        )
        for name in ("clean", *SETS)
    ]


def with_network(found: Found, printed: Mapping[str, str], data: str, table: str, network: str) -> Lines:
    """Table 3 on one of the networks ("", the first), CI in float32 as published code computes it."""
    lines: Lines = []
    for name in ("clean", *SETS):
        parts = [part for part in (table, data, name, network) if part]
        cells = (told(found, ".".join([*parts, rows, "float32"])) for rows in PARTED)
        lines.append((TITLES.get(name, "clean"), printed.get(f"{table}.{name}", "–"), *cells))
    return lines


def recovered(found: Found, printed: Mapping[str, str], data: str) -> Lines:
    """Table 4 beside our shares of all attempts at 8, and what the defences leave of clean images."""
    lines: Lines = []
    for name in SETS:
        cells = [
            cell
            for way in ("fs", "ss", "gda")
            for cell in (printed.get(f"t4.{way}.{name}", "–"), told(found, f"t4.{data}.{way}.{name}"))
        ]
        lines.append((TITLES[name], *cells))
    clean = [told(found, f"recovered.{data}.{way}.clean") for way in ("fs", "ss", "gda")]
    lines.append(("clean", *(cell for one in clean for cell in ("not printed", one))))
    return lines


def successes(found: Found, data: str, budgets: Sequence[float]) -> Lines:
    """How many of the images that are right are misled, by attack and budget; targeted ones: and how many
    reach their target.
    """
    lines: Lines = []
    for name in (*SETS, *(f"author.{way}_{kind}" for way in ("ten", "hundred") for kind in "tu")):
        cells: list[str] = []
        for eps in budgets:
            id = f"{data}.{name}.{eps:g}"
            one, target = found.get(f"success.{id}"), found.get(f"reached.{id}")
            cells.append(
                "–" if one is None else f"{one.value:.2f}" + (f" / {target.value:.2f}" if target else "")
            )
        if set(cells) != {"–"}:
            lines.append((called(name), *cells))
    return lines


def called(name: str) -> str:
    """An attack in words."""
    if not name.startswith("author."):
        return TITLES[name]
    way, _, kind = name.removeprefix("author.").partition("_")
    steps = {"ten": "10 steps of 1", "hundred": "100 steps of 0.1"}[way]
    return f"the author's {steps}, {'targeted' if kind == 't' else 'untargeted'}"


def detection(found: Found, data: str, attacks: Sequence[tuple[str, str]], what: str) -> Lines:
    """Every detector under some attacks (set, budget; "" for none), `what` of auc, tpr5, tpr1; and its false
    alarms on test images.
    """
    lines: Lines = []
    for name in (*STRATEGIES.values(), UNION, *ABLATIONS, *BASELINES):
        cells = [
            told(found, ".".join(filter(None, ("detect", data, attack, eps, name, what))))
            for attack, eps in attacks
        ]
        alarms = told(found, f"alarms.{data}.{name}.{'1' if what == 'tpr1' else '5'}.all")
        lines.append((NAMES[name], *cells, *([] if what == "auc" else [alarms])))
    return lines


def harmless(found: Found, data: str, eps: float) -> Lines:
    """What is flagged of noise and blur, beside the false alarms on clean images."""
    return [
        (
            NAMES[name],
            told(found, f"alarms.{data}.{name}.5.correct"),
            told(found, f"placebo.{data}.noise.{eps:g}.{name}"),
            told(found, f"placebo.{data}.blur.{name}"),
        )
        for name in (*STRATEGIES.values(), UNION, *ABLATIONS, *BASELINES)
    ]


def evaded(found: Found, data: str, eps: float) -> Lines:
    """Of the images that are right, how many are fooled and not flagged at one budget, by attack."""
    names = ("none", *STRATEGIES.values(), UNION, "rho.g", "softmax", "mahalanobis", "density", "planted")
    return [
        (NAMES[name], *(told(found, f"evade.{data}.{how}.{eps:g}.{name}") for how in HOW)) for name in names
    ]


def grown(found: Found, data: str) -> Lines:
    """The least budget at which half and nine tenths are fooled and not flagged, by attack; a dash where
    fewer than two budgets were tried.
    """
    lines: Lines = []
    for name in (*STRATEGIES.values(), UNION, "rho.g", "softmax", "mahalanobis", "density"):
        cells = []
        for how in GROWN:
            tried = sum(id.startswith(f"evade.{data}.{how}.") and id.endswith(f".{name}") for id in found)
            each = (found.get(f"growth.{data}.{how}.{name}.{part}") for part in ("0.5", "0.9"))
            both = [f"{one.value:g}" if one else "not reached" for one in each]
            cells.append(", ".join(dict.fromkeys(both)) if tried > 1 else "–")
        lines.append((NAMES[name], *cells))
    return lines


def figure_3(found: Found, printed: Mapping[str, str], data: str) -> Lines:
    """Fig. 3: what is printed, and our counts of 300 by both rules, clean and over the attacks at 8."""
    lines: Lines = []
    for size in ("3_10", "5_20", "10_30"):
        for what, words in (("clean", "clean"), ("adv", "attacked")):
            ours = (
                told(found, f"f3.{data}.{what}.{size}.{rule}", ".0f") for rule in ("containment", "meeting")
            )
            lines.append((f"{size.replace('_', '/')}, {words}", printed[f"f3.{what}.{size}"], *ours))
    return lines


def recovered_by_budget(found: Found, data: str, budgets: Sequence[float]) -> Lines:
    """Labels that each defence brings back of images that were right and are misled, by attack and budget."""
    lines: Lines = []
    for name in SETS:
        for way, words in DEFENCES.items():
            each = (found.get(f"recovered.{data}.{way}.{name}.{eps:g}.successes") for eps in budgets)
            lines.append((f"{TITLES[name]}; {words}", *(f"{one.value:.2f}" if one else "–" for one in each)))
    return lines
