"""The tables of chapter 1 as texts, and the tiles of its live figure: what is computed elsewhere, laid out.
No number is made here.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from statistics import median
from typing import Any

from torch import Tensor

from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.claims import claim_id, of_true_class
from causalnb.chapters.ace.experiments import DETECTORS, WEIGHTS
from causalnb.chapters.ace.measurements import WORDS, between_id, cell_id, resolved_id
from causalnb.chapters.ace.networks import Latents, Trained
from causalnb.chapters.ace.readings import key_parts
from causalnb.chapters.ace.specifications import COMPARISONS, READINGS
from causalnb.chapters.ace.strength import Point, budgets
from causalnb.fragments import Lines, Tile
from causalnb.ledger import Ledger, read_printed
from causalnb.statistics import Estimate, Interval

Found = Mapping[Any, Estimate]  # by MeasurementId
Budget = tuple[float, float, float, float]  # budget, value, low, high
NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
ATTACKS = {"fgsm": "FGSM", "pgd": "PGD", "cw": "C&W"}
TITLES = {"clean": "clean", "cw": "C&W", "fgsm": "FGSM", "pgd": "PGD"}  # Table I's rows
SETS = ("clean", *ATTACKS)  # in the order of the tables here
MAIN = ("R1", "R3", "R3m")  # readings that figures draw
NETWORKS = {"": "as printed", "momentum": "momentum", "cited": "tanh, average"}
CLASSES = {"true": "true class", "predicted": "predicted class"}


def called(data: str) -> str:
    """A data set as the paper calls it."""
    return NAMES.get(data, data)


def first_maps(
    columns: Mapping[str, Tensor], *, scores: Sequence[str], readings: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The first clean image's map of its true class by reading, of the given scores; of all readings unless
    told, in the order asked for.
    """
    found = {}
    for text, values in columns.items():
        kind, _, which, key = text.split(" ")
        parts = key_parts(key)
        if (kind, which, parts["of"]) == ("map", "clean", "true") and parts["score"] in scores:
            found[parts["reading"]] = values
    return {reading: found[reading] for reading in readings or found if reading in found}


def curves(
    nets: Mapping[str, Trained], others: Mapping[str, Mapping[str, Sequence[Trained]]]
) -> dict[str, dict[str, list[float]]]:
    """Accuracies in percent after each epoch, by set and recipe: the first seed of each."""
    first = {
        data: {"as printed": [net], "with momentum": others[data]["momentum"][:1]}
        for data, net in nets.items()
    }
    return {
        called(data): {recipe: (100 * one.curve).tolist() for recipe, some in recipes.items() for one in some}
        for data, recipes in first.items()
    }


def specifications(found: Found, cell: str) -> tuple[dict[str, Interval], dict[str, dict[str, str]]]:
    """Every reading of a cell of Table I ("table.mnist.pgd.TV_mean") with its interval, and what each
    decided: decision -> reading -> option.
    """
    own = {id: one for id, one in found.items() if id.startswith(f"{cell}.")}
    decisions: dict[str, dict[str, str]] = {}
    for id in own:
        part = id.parts
        reading = READINGS[part["reading"]]
        chosen = {"class": part["of"], "score": part["score"], "scale": part.get("scale", "")}
        chosen |= {"baseline": reading.baseline, "rows": reading.rows}
        chosen["network"] = NETWORKS[part.get("network", "")]
        for decision, option in chosen.items():
            if option:
                decisions.setdefault(decision, {})[id] = option
    return {id: one.interval for id, one in own.items()}, decisions


def band(ledger: Ledger, cell: str) -> tuple[float, float] | None:
    """What a cell of Table I prints, and the median tolerance of its readings; nothing for other data."""
    for row in ledger.rows:
        if row.id == cell and (tolerances := [tol for id in row.spreads if (tol := row.tolerance(id))]):
            return read_printed(row.printed)[0], median(tolerances)
    return None


def allowed() -> Lines:
    """Every reading: its formula, the words that allow it, and their place."""
    return [(name, one.formula, f"“{one.words}”", one.place) for name, one in READINGS.items()]


def against_noise(found: Found, data: str, claim: str, scale: str) -> dict[str, dict[str, Interval]]:
    """What an attack changes against the clean image, beside what noise of its size does, in the readings
    that figures draw.
    """
    lines: dict[str, dict[str, Interval]] = {}
    for reading, (attack, named) in product(MAIN, ATTACKS.items()):
        of = f"{claim}.{scale}", data, attack, f"{reading}.logit.true"
        kinds = {"under the attack": "claim", "under noise of its size": "noise"}
        lines[f"{reading} {named}"] = {name: found[claim_id(k, *of)].interval for name, k in kinds.items()}
    return lines


def over_threshold(
    found: Found, data: str, key: str, shares: Sequence[float]
) -> dict[str, dict[float, Interval]]:
    """Mean S of each of Table I's sets over the share of the largest effect that a positive one exceeds."""
    return {
        named: {share: found[resolved_id(data, which, key, f"{share:g}")].interval for share in shares}
        for which, named in {"clean": "clean", **ATTACKS}.items()
    }


def compared(data: str, found: Found) -> Lines:
    """S and TV of the maps that are no readings, clean and attacked, logit of the true class."""
    lines: Lines = []
    for reading in COMPARISONS:
        cells = []
        for column, scale, form in (("S_mean", "", ".3f"), ("TV_mean", "scaled", ".1f")):
            ids = (cell_id(data, which, column, f"{reading}.logit.true", scale) for which in SETS)
            cells += [f"{found[id].value:{form}}" for id in ids]
        lines.append((reading, *cells))
    return lines


def over_budget(
    points: Sequence[Point], found: Found, norm: str, kinds: Sequence[str], key: str = "R3m.logit.true"
) -> dict[str, dict[str, list[Budget]]]:
    """Panels of `figures.strengths`: statistic -> kind -> (budget, value, low, high), the clean images at
    0.
    """
    titles = {"share misled": "misled", "S": f"S.{key}", "TV, as it comes": f"TV.{key}"}
    titles["positive mass"] = f"positive.{key}"
    panels: dict[str, dict[str, list[Budget]]] = {}
    for title, what in titles.items():
        panels[title] = {ATTACKS.get(kind, kind): [] for kind in kinds}
        for kind in kinds:
            for one in points:
                if (one.kind, one.norm) in ((kind, norm), ("clean", "")):
                    budget = (one.eps, *found[f"{one.id}.{what}"].interval)
                    panels[title][ATTACKS.get(kind, kind)].append(budget)
    return panels


def parts(seen: Mapping[str, Mapping[str, float]], of: str = "logit.1") -> Lines:
    """Where each reading of the network built by hand sees effects."""
    readings = ("R1", "R1e", "R1d", "R3", "R3m", "R3b", "R3c", "R7", "R8")
    return [
        (reading, *(f"{share:.0%}" for share in seen[f"{reading}.{of}"].values())) for reading in readings
    ]


def directions(found: Found) -> Lines:
    """Class by attack, against the clean image and in brackets against noise: in how many readings, scores
    and sets S and TV rise, stay open or fall, over the whole interval.
    """
    parts = ("kind", "claim", "scale", "of", "attacks", "word")
    counts = {tuple(id.parts.get(part, "") for part in parts): int(one.value) for id, one in found.items()}

    def said(*which: str) -> str:
        return "/".join(str(counts.get((*which, word), 0)) for word in WORDS)

    columns = (("T6", ""), ("T8", "raw"), ("T8", "scaled"))
    return [
        (
            f"{CLASSES[of]}, {attacks}",
            *(f"{said('claim', *one, of, norm)} ({said('beyond', *one, of, norm)})" for one in columns),
        )
        for of in CLASSES
        for norm, attacks in (("linf", "FGSM and PGD"), ("l2", "C&W"))
    ]


def trainings(
    nets: Mapping[str, Trained],
    others: Mapping[str, Mapping[str, Sequence[Trained]]],
    printed: Mapping[str, float],
) -> Lines:
    """Each recipe on each set: the accuracy after the last epoch for each seed, what is printed, and the
    first epoch that reaches it.

    printed   percent, by data set
    """
    lines: Lines = []
    for data, net in nets.items():
        criterion, plain = printed.get(data), [net, *others[data]["plain"]]
        for recipe, each in {"as printed": plain, "with momentum": others[data]["momentum"]}.items():
            if each:
                ends = ", ".join(f"{100 * one.curve[-1].item():.2f}" for one in each)
                first = ", ".join(_first(one.curve, criterion) for one in each) if criterion else "–"
                asked = f"{criterion:.2f}" if criterion else "–"
                lines.append((f"{called(data)}, {recipe}", ends, asked, first, str(len(net.curve))))
    return lines


def _first(curve: Tensor, percent: float) -> str:
    reached = (str(epoch) for epoch, value in enumerate(curve.tolist(), 1) if 100 * value >= percent)
    return next(reached, "never")


def between(data: str, found: Found, printed: Mapping[str, float]) -> Lines:
    """Beside the printed standard deviation over images: ours over images, and over trainings, of S in four
    readings.
    """
    lines: Lines = []
    for reading, of in product(("R1", "R3m"), CLASSES):
        keys = {which: _on(which, f"{reading}.logit.{of}") for which in SETS}
        images = [found[cell_id(data, which, "S_std", key)].value for which, key in keys.items()]
        spread = [found[between_id(data, which, "S", key)].value for which, key in keys.items()]
        cells = (f"{a:.3f} / {b:.3f}" for a, b in zip(images, spread, strict=True))
        lines.append((f"{reading}, {CLASSES[of]}", *cells))
    given = [f"{printed[f'table.{data}.{which}.S_std']:.3f}" for which in SETS if printed]
    return [("printed, over images", *given), *lines] if given else lines


def _on(which: str, key: str) -> str:
    """The key under which a set's map is kept: a clean image's class is the true one."""
    return key if which != "clean" or of_true_class(key) else key.replace(".predicted", ".true")


def latents(found: Sequence[Latents], measured: Found) -> Lines:
    """Each beta: active latents for each seed, the nats that all carry, samples that pass for their label."""
    return [
        (
            f"β = {beta:g}",
            ", ".join(f"{one.active} of {len(one.kl)}" for one in found if one.beta == beta),
            f"{measured[f'vae.nats.{beta:g}'].value:.2f}",
            f"{measured[f'vae.labels.{beta:g}'].value:.0%}",
        )
        for beta in sorted({one.beta for one in found})
    ]


def detectors(data: str, found: Found) -> Lines:
    """The AUC of each detector for each kind of image, with its interval."""
    kinds = ("fgsm", "pgd", "cw", "noise", *(f"evading.{weight:g}" for weight in WEIGHTS))
    return [
        (reading, *(interval(found, f"detector.{data}.{reading}.{kind}") for kind in kinds))
        for reading in DETECTORS
    ]


def alike(data: str, readings: Sequence[str], found: Found) -> Lines:
    """The mean correlation of each pair of readings' maps."""

    def cell(a: str, b: str) -> str:
        one = found.get(f"alike.{data}.{a}-{b}") or found.get(f"alike.{data}.{b}-{a}")
        return f"{one.value:.2f}" if one else "1" if a == b else "–"

    return [(a, *(cell(a, b) for b in readings)) for a in readings]


def interval(found: Found, id: str, form: Callable[[float], str] = "{:.2f}".format) -> str:
    """A value with the ends of its interval; a dash where nothing was measured."""
    if (one := found.get(id)) is None:
        return "–"
    return form(one.value) + (
        f" ({form(one.low)} to {form(one.high)})" if one.low is not None and one.high is not None else ""
    )


def pictured(
    points: Sequence[Point], classes: Sequence[str], eps: float, key: str = "R3m.logit.true"
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The first image and its map, clean and under each attack at the largest budget shown, by a title that
    says what the network takes it for.
    """
    ends = {"clean": 0.0, "fgsm": eps, "pgd": eps, "cw": budgets(eps, "l2")[-1]}
    images, maps = {}, {}
    for one in points:
        if one.eps == ends.get(one.kind):
            title = f"{TITLES[one.kind]}: {classes[int(one.predicted[0])]}"
            images[title], maps[title] = one.images[0, 0], one.maps[key][0]
    return images, maps


def tiles(
    points: Sequence[Point], classes: Sequence[str], eps: float, *, images: int = 2
) -> tuple[dict[str, list[str]], dict[tuple[str, ...], Tile]]:
    """What `Run.explore` shows of the first images: each attack at the budget, at a third of it and at none,
    in three readings, for the true and the predicted class.

    points    from `strength.curves`
    classes   their names
    """
    at = {(one.kind, one.eps): one for one in points}
    clean = at["clean", 0.0]
    shown = [f"{number}: {classes[int(of)]}" for number, of in enumerate(clean.labels[:images], 1)]
    linf, l2 = budgets(eps, "linf"), budgets(eps, "l2")
    steps = {f"{a:g} (C&W: L2 norm {b:g})": (a, b) for a, b in ((eps, l2[-1]), (linf[0], l2[0]))}
    choices = {
        "image": shown,
        "attack": list(ATTACKS.values()),
        "budget": [*steps, "0, the clean image"],
        "reading": list(MAIN[::-1]),
        "class": list(CLASSES.values()),
    }
    found: dict[tuple[str, ...], Tile] = {}
    for (number, image), (attack, named), budget, reading, (of, words) in product(
        enumerate(shown), ATTACKS.items(), choices["budget"], choices["reading"], CLASSES.items()
    ):
        point = at[attack, steps[budget][attack == "cw"]] if budget in steps else clean
        effects = point.maps[f"{reading}.logit.{of}"][number]
        said = (
            f"Predicted: {classes[int(point.predicted[number])]}. S {m.sparsity(effects[None]).item():.3f}, "
            f"TV {m.total_variation(effects[None]).item():.3g} "
            f"({m.total_variation(m.rescale(effects[None])).item():.3g} over the largest effect)."
        )
        found[image, named, budget, reading, words] = Tile(point.images[number, 0], effects, said)
    return choices, found
