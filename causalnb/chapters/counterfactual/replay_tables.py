"""The replay laid out: the dumbbells of all replayed numbers, and tables as texts. No number is made here.

Estimates come by the text of their ids, so that those of a published record can be shown where the published
vectors are not at hand.
"""

from collections.abc import Mapping, Sequence
from itertools import product

from causalnb import UserError, paths, record
from causalnb.chapters.counterfactual.figures import Dumbbell
from causalnb.chapters.counterfactual.printed import count, separations
from causalnb.chapters.counterfactual.replay import sources, ties, vectors
from causalnb.chapters.counterfactual.replay.counts import ATTACKS, DATA, SMALL
from causalnb.chapters.counterfactual.replay.details import PUBLISHED, alarms
from causalnb.chapters.counterfactual.strategies import PAIRS
from causalnb.fragments import Lines
from causalnb.statistics import Estimate

Found = Mapping[str, Estimate]
NAMES = {
    "fgsm_t": "FGSM, targeted",
    "pgd_t": "PGD, targeted",
    "bim_t": "BIM, targeted",
    "fgsm_u": "FGSM",
    "pgd_u": "PGD",
    "bim_u": "BIM",
    "pgd16_t": "PGD at 16, targeted",
    "clean": "clean",
}
FIRST = ("bim_u", "bim_t", "pgd16_t")  # printed as rejected by strategy 1 in all cases
OTHERS = ("fgsm_u", "fgsm_t", "pgd_u", "pgd_t")  # printed as accepted in all
PANELS = {
    "t2": "S2 accepts (Table 2)",
    "t3n5": "S3, 5 zeros (Table 3)",
    "t3n10": "S3, 10 zeros",
}


# Where the numbers come from -----------------------------------------------------------------------------


def last_published(chapter: str = "counterfactual") -> record.Record | None:
    """The last published record of the chapter that holds a replay, if there is one."""
    try:
        files = sorted(paths.published_root().glob(f"{chapter}/*/record.json"))
    except UserError:
        return None
    found = [one for one in map(record.read, files) if f"rejected.{DATA}.bim_u" in one.measurements]
    return max(found, key=lambda one: one.finished, default=None)


def estimates_of(made: record.Record | None) -> dict[str, Estimate]:
    """A record's estimates by id; none of no record."""
    return {id: one.estimate for id, one in made.measurements.items()} if made else {}


def told(there: bool, published: record.Record | None) -> str:
    """In a sentence or two, whether this run counted the published vectors or shows what another one did."""
    if there:
        return (
            f"The {len(sources.SOURCES)} published files are at hand, each the one that its checksum names. "
            "What follows is counted on them in this run."
        )
    missing = (
        f"The published vectors are not at hand: {len(sources.SOURCES)} files of {sources.REPOSITORY} are "
        f"looked for under {sources.FOLDER}/ in the data folder. "
    )
    if published is None:
        return missing + "No published record holds them either, so the replay is not shown."
    return missing + (
        f"What follows is not of this run: it is what the execution of {published.finished[:10]}, profile "
        f"{published.profile}, recorded."
    )


# The dumbbells -------------------------------------------------------------------------------------------


def strategy_1(found: Found) -> dict[str, Dumbbell]:
    """Shares that strategy 1 rejects, printed as all of BIM and of PGD at 16, and as none of the others."""
    return {
        **{NAMES[a]: _share(found, f"s1.{DATA}.{a}.0", 100.0, "100 %, {k} of {n}") for a in FIRST},
        **{NAMES[a]: _share(found, f"s1.{DATA}.{a}.0", 0.0, "none, {k} of {n}") for a in OTHERS},
    }


def tables_2_and_3(found: Found, printed: Mapping[str, str]) -> dict[str, dict[str, Dumbbell]]:
    """Shares of 100 images that Tables 2 and 3 count, by panel and attack."""
    return {
        title: {
            NAMES[a]: _share(found, f"{table}.{DATA}.{a}", float(count(printed[f"{table}.{a}"])[0]))
            for a in ATTACKS
        }
        for table, title in PANELS.items()
    }


def _share(found: Found, id: str, printed: float, said: str = "") -> Dumbbell:
    one, (_, low, high) = found[f"{id}.published"], (100 * x for x in found[f"{id}.interval"].interval)
    n = one.n or 0
    words = said.format(k=round(one.value * n), n=n) if said else ""
    return Dumbbell(printed, low, high, words)


# Tables --------------------------------------------------------------------------------------------------


def files() -> Lines:
    """The published files: records, distinct keys, and those that stand there more than once."""
    return [
        (line.name, str(line.records), str(line.distinct), str(len(line.repeated)))
        for line in vectors.inventory()
    ]


def rejected(found: Found) -> Lines:
    """Strategy 1 on ImageNet: images with at most 0, 5, 10 causal filters, and with CI below small sizes."""
    lines: Lines = []
    for attack in ("clean", *PUBLISHED):
        own = [
            f"s1.{DATA}.clean.{n}" if attack == "clean" else f"s1.{DATA}.{attack}.{n}.published"
            for n in SMALL
        ]
        sizes = [f"near.{DATA}.{attack}.{size}" for size in ("1e-06", "0.0001", "0.01")]
        n = found[own[0]].n or 0
        lines.append((NAMES[attack], str(n), *(_of(found[id]) for id in (*own, *sizes))))
    return lines


def needed(found: Found) -> Lines:
    """What it takes to reject every published image of untargeted BIM."""
    return [
        (what, f"{found[f'needed.{DATA}.{how}.at'].value:.3g}", f"{found[f'needed.{DATA}.{how}'].value:.1%}")
        for how, what in (("n", "causal filters, at most"), ("max", "largest CI, at most"))
    ]


def shared(found: Found) -> Lines:
    """Strategy 4 on CIFAR, by attack, sizes and rule: how many, and the least and the most over ties."""
    return [
        (NAMES[a], str(found[f"s4.{DATA}.{a}.3_10.meeting"].n), *(_ties(found[id]) for id in _fours(a)))
        for a in ATTACKS
    ]


def _fours(attack: str) -> list[str]:
    return [
        f"s4.{DATA}.{attack}.{n}_{m}.{rule}" for rule, (n, m) in product(("containment", "meeting"), PAIRS)
    ]


def by_key(found: Found) -> Lines:
    """What the keys tell of each CIFAR attack, and what strategies 2 and 3 accept."""
    columns = (
        "label_changed",
        "label_is_the_second_field",
        "S2_accepts_changed",
        "S2_accepts_unchanged",
        "S3_accepts_changed",
        "S3_accepts_unchanged",
    )
    return [
        (NAMES[a], *(_both(found.get(f"keys.{DATA}.{a}.{column}")) for column in columns)) for a in ATTACKS
    ]


def zeros(found: Found) -> Lines:
    """Zero filters of the author's ten prototypes."""
    counted = {id.rpartition(".")[2]: one for id, one in found.items() if id.startswith(f"zeros.{DATA}.")}
    return [(f"class {key}", f"{counted[key].value:.0f}") for key in sorted(counted)]


def grids(found: Found) -> Lines:
    """ImageNet images on the grid of float32 above one half."""
    return [(NAMES[a], _both(found[f"grid.{DATA}.{a}"])) for a in ("clean", *PUBLISHED)]


def twice() -> Lines:
    """CIFAR images with two records in one file: whether the difference is the same in every filter, and that
    of filter 511.
    """
    return [
        (
            one.key,
            NAMES[a],
            f"{one.shift:.3g}",
            f"{one.spread:.0e}",
            f"{one.expected:.3g}",
            f"{one.causal[0]} and {one.causal[1]}",
        )
        for a in ATTACKS
        for one in ties.twice(vectors.load(f"cifar.{a}"))
    ]


def of_mask(found: Found) -> Lines:
    """How often the CI of filter 511, and of the others, is exactly 0."""
    return [
        (NAMES[a], *(f"{found[f'mask.{DATA}.{a}.{what}'].value:.0%}" for what in ("last", "others")))
        for a in ATTACKS
    ]


def singles(found: Found) -> Lines:
    """Single statistics as detectors on ImageNet: AUC with its interval."""
    return [
        (NAMES[a], *(_interval(found[f"single.{DATA}.{s}.{a}.auc"]) for s in ("zeros", "causal", "largest")))
        for a in PUBLISHED
    ]


def matched(found: Found, strategy: str) -> Lines:
    """Targeted PGD beside clean images of its target classes, by "S2" or "S4"."""
    of = {
        "S2": {
            "accepted": "ρ with the class's mean is 0.5 or more",
            "among_1": "no other class's mean correlates better",
            "among_5": "at most four others correlate better",
        },
        "S4": {
            f"s4_{n}_{m}.{rule}": f"{words} of its {n} strongest in the prototype's {m}"
            for (rule, words), (n, m) in product((("containment", "all"), ("meeting", "one")), PAIRS)
        },
    }
    names = of[strategy]
    return [
        (words, *(f"{found[f'matched.{DATA}.{what}.{a}'].value:.1%}" for a in ("clean", "pgd_t")))
        for what, words in names.items()
    ]


def of_pictures(found: Found) -> Lines:
    """How far the published CIFAR pictures are from their test images."""
    lines: Lines = []
    for name in ("fgsm", "bim", "pgd"):
        least, largest, mean, odd = (
            found[f"pictures.{name}.{what}"] for what in ("least", "largest", "mean", "odd")
        )
        lines.append(
            (
                name.upper(),
                str(least.n),
                " to ".join(dict.fromkeys(f"{end.value:.0f}" for end in (least, largest))),
                f"{mean.value:.1f}",
                f"{odd.value:.1%}",
            )
        )
    return lines


def separated(printed: Mapping[str, str]) -> Lines:
    """What the printed counts of Tables 1 and 2 say as detectors: detected less false alarms, with Fisher's
    p.
    """
    both = {
        table: separations(
            {
                row.partition(".")[2]: count(text)
                for row, text in printed.items()
                if row.startswith(f"{table}.")
            }
        )
        for table in ("t1", "t2")
    }
    return [
        (NAMES[a], *(part for of in both.values() for part in (_interval(of[a].detected), f"{of[a].p:.2g}")))
        for a in ATTACKS
    ]


def alarmed(printed: Mapping[str, str]) -> Lines:
    """Clean images that the printed counts reject."""
    names = {
        "t1": "Table 1, all clean images",
        "t1 right": "Table 1, those classified right, if no other was accepted",
        "t2": "Table 2",
        "t3n5": "Table 3, n = 5",
        "t3n10": "Table 3, n = 10",
    }
    found = alarms(dict(printed))
    return [(words, f"{k} of {n}", f"{k / n:.1%}") for key, words in names.items() for k, n in [found[key]]]


def _of(one: Estimate) -> str:
    return f"{one.value * (one.n or 0):.0f}"


def _both(one: Estimate | None) -> str:
    return f"{_of(one)} of {one.n}" if one else "–"


def _ties(one: Estimate) -> str:
    k, low, high = (round(x * (one.n or 0)) for x in one.interval)
    return str(k) if low == high else f"{k} ({low} to {high})"


def _interval(one: Estimate) -> str:
    value, low, high = one.interval
    return f"{value:.2f} ({low:.2f}, {high:.2f})"


def columns_of(pairs: Sequence[tuple[int, int]] = PAIRS) -> list[str]:
    """The heads of `shared`."""
    return ["", "published", *(f"{rule}, {n}/{m}" for rule, (n, m) in product(("all", "one"), pairs))]
