"""What the author's published files give, where they are at hand: numbers that were counted by other hands."""

import functools
import os

import pytest
import torch
from platformdirs import user_data_path
from scipy import stats

from causalnb import data, ledger
from causalnb.chapters.counterfactual import errata, strategies
from causalnb.chapters.counterfactual.replay import classes, counts, measurements, pictures, sources, ties
from causalnb.chapters.counterfactual.replay.vectors import inventory, load, prototypes

HOME = os.environ.get("CAUSALNB_DATA") or str(user_data_path("causalnb", appauthor=False))


@pytest.fixture(autouse=True)
def published(alone, monkeypatch):
    monkeypatch.setenv("CAUSALNB_DATA", HOME)
    if not sources.at_hand():
        pytest.skip(f"the published vectors are not at hand: looked in {sources.folder()}")


@pytest.fixture(scope="module")
def book():
    return ledger.load("counterfactual")


COUNTS = {  # records and distinct keys
    "cifar.prototypes": (10, 10),
    "cifar.bim_u": (82, 81),
    "cifar.bim_t": (50, 50),
    "cifar.fgsm_u": (95, 92),
    "cifar.fgsm_t": (45, 45),
    "cifar.pgd_u": (101, 100),
    "cifar.pgd_t": (60, 60),
    "imagenet.clean": (298, 294),
    "imagenet.bim_u": (249, 249),
    "imagenet.bim_t": (30, 30),
    "imagenet.fgsm_u": (286, 286),
    "imagenet.fgsm_t": (297, 291),
    "imagenet.pgd16_t": (13, 13),
    "imagenet.pgd_u": (273, 273),
    "imagenet.pgd_t": (295, 294),
    "imagenet.prototypes": (48, 48),
}


def test_all_2232_records_are_read_and_16_keys_are_repeated():
    found = inventory()
    assert {line.name: (line.records, line.distinct) for line in found} == COUNTS
    assert sum(line.records for line in found) == 2232 and sum(len(line.repeated) for line in found) == 16
    assert next(line for line in found if line.name == "cifar.bim_u").repeated == ("2__118.png_as_3",)


def test_the_order_of_a_file_is_falling_ci_with_ties_by_filter():
    for name in ("cifar.fgsm_t", "imagenet.bim_u"):
        found = load(name)
        assert torch.equal(found.order, found.ci.argsort(dim=1, descending=True, stable=True))


def counted(found, kind):
    """k of the interval reading, by attack, of 100."""
    return [round(found[f"{kind}.causadv.{attack}.interval"].value * 100) for attack in counts.ATTACKS]


def test_tables_2_and_3_come_to_these_counts():
    assert counted(counts.table_2(), "t2") == [10, 23, 20, 22, 16, 14]
    assert counted(counts.table_3(), "t3n5") == [5, 10, 10, 5, 0, 0]
    assert counted(counts.table_3(), "t3n10") == [1, 7, 6, 3, 0, 0]


def test_every_correlation_of_table_2_is_scipys():
    own = prototypes(load("cifar.prototypes"))
    for attack in counts.ATTACKS:
        vectors = load(f"cifar.{attack}")
        found = strategies.correlation(vectors.ci, vectors.labels, own)
        theirs = own.of(vectors.labels).double().numpy()
        expected = [
            stats.pearsonr(a, b).statistic for a, b in zip(vectors.ci.double().numpy(), theirs, strict=True)
        ]
        assert found.undefined == 0 and found.rho.tolist() == pytest.approx(expected, abs=1e-12)


def test_null_vectors_have_no_correlation_and_are_told():
    bim = load("imagenet.bim_u").ci
    found = strategies.pearson(bim, bim.roll(1, 0))
    assert found.undefined >= 129 and not found.rho.isnan().any()


def test_strategy_1_rejects_129_of_249_images_of_untargeted_bim_and_none_of_30_targeted_ones():
    found = counts.strategy_1()
    rejected = {name: round(one.value * 300) for name, one in found.items() if name.endswith(".0.interval")}
    assert rejected == {
        f"s1.causadv.{attack}.0.interval": k
        for attack, k in zip((*counts.ATTACKS, "pgd16_t"), (0, 0, 0, 0, 1, 129, 0), strict=True)
    }
    need = counts.needed()
    assert need["needed.causadv.n.at"].value == 252 and need["needed.causadv.n"].value == pytest.approx(
        293 / 294
    )
    assert need["needed.causadv.max"].value == pytest.approx(0.901, abs=5e-4)
    assert list(counts.largest_below("imagenet.bim_u").values()) == [154, 181, 199, 217]


def test_strategy_4_on_cifar_with_ties_by_place():
    found = counts.strategy_4()
    expected = {
        (3, 10): ([13, 36, 29, 29, 43, 35], [0, 7, 6, 3, 1, 0]),
        (5, 20): ([21, 52, 43, 50, 72, 58], [0, 7, 6, 1, 2, 1]),
        (10, 30): ([41, 56, 46, 82, 95, 78], [0, 3, 4, 3, 0, 0]),
    }
    for pair, (meeting, contained) in expected.items():
        assert [found[attack, *pair, "meeting"][0] for attack in counts.ATTACKS] == meeting
        assert [found[attack, *pair, "containment"][0] for attack in counts.ATTACKS] == contained
    assert all(least <= count <= most for count, least, most in found.values())


def test_what_keys_say_of_success():
    told = counts.successes()
    assert [told[a]["label changed"][0] for a in counts.ATTACKS] == [37, 22, 21, 65, 100, 81]
    assert [told[a]["label is the second field"][0] for a in counts.ATTACKS[:3]] == [2, 6, 5]
    assert [told[a]["S2 accepts changed"][0] for a in counts.ATTACKS] == [9, 7, 7, 14, 16, 14]
    assert [told[a]["S3 accepts changed"][0] for a in counts.ATTACKS] == [0, 1, 1, 0, 0, 0]


def test_zeros_occur_only_where_ci_hardly_spreads_and_four_prototypes_have_too_few():
    found = ties.ties()
    assert (found.n, found.many, found.spread, found.of_many) == (428, 30, 354, 0) and found.widest < 1.5e-5
    assert all(-0.81 < rho < -0.46 for rho in found.spearman.values())
    assert strategies.zeros(load("cifar.prototypes").ci).tolist() == [1, 34, 0, 22, 33, 20, 50, 4, 25, 0]
    assert [one.value for one in counts.zero_prototypes().values()] == [0.6, 0.6]


def test_the_grid_shows_which_images_had_a_probability_of_one_half_or_more():
    found = ties.grids()
    assert {name: k for name, (k, _) in found.items()} == {
        "clean": 229,
        "fgsm_t": 15,
        "pgd_t": 286,
        "bim_t": 30,
        "fgsm_u": 47,
        "pgd_u": 134,
        "bim_u": 249,
        "pgd16_t": 13,
    }


def test_five_images_that_a_file_has_twice_show_the_mask_that_was_not_put_back():
    found = [one for attack in counts.ATTACKS for one in ties.twice(load(f"cifar.{attack}"))]
    assert len(found) == 5 and all(one.fresh and one.spread <= 1e-9 for one in found)
    assert all(one.shift == pytest.approx(one.expected, abs=1e-9) for one in found)
    assert sorted(one.causal[::-1] for one in found) == [
        (201, 412),
        (218, 288),
        (357, 238),
        (357, 238),
        (363, 306),
    ]


def test_across_files_two_fresh_and_stale_pairs_are_not_constant_the_first_records_of_their_files():
    for one, other, n, odd in (
        ("bim_u", "pgd_u", 10, "0__125.png_as_6"),
        ("bim_t", "pgd_t", 7, "8__8_as_9_633.png_as_8"),
    ):
        pairs = [p for p in ties.across(load(f"cifar.{one}"), load(f"cifar.{other}")) if p.fresh]
        assert len(pairs) == n and [p.key for p in pairs if p.spread > 2e-6] == [odd]


def test_bim_and_pgd_are_the_same_images():
    assert ties.alike(load("cifar.bim_u"), load("cifar.pgd_u")) == ties.Alike(81, 81, 47)
    assert ties.alike(load("cifar.bim_t"), load("cifar.pgd_t")) == ties.Alike(46, 46, 27)


@pytest.mark.parametrize(
    ("statistic", "attack", "auc", "rate"),
    [
        ("zeros", "fgsm_u", 0.741, 0.203),
        ("zeros", "fgsm_t", 0.771, 0.289),
        ("zeros", "pgd_u", 0.665, 0.139),
        ("zeros", "pgd_t", 0.517, 0.105),
        ("causal", "pgd_t", 0.528, 0.150),
        ("causal", "bim_u", 0.843, 0.779),
        ("largest", "pgd_t", 0.799, 0.255),
        ("largest", "bim_t", 0.883, 0.467),
        ("largest", "pgd16_t", 0.931, 0.462),
    ],
)
def test_single_statistics_on_imagenet(statistic, attack, auc, rate):
    found, flagged = classes.single(statistic, attack)
    assert (found.value, flagged) == (pytest.approx(auc, abs=5e-4), pytest.approx(rate, abs=5e-4))


def test_targeted_pgd_against_clean_images_of_the_same_classes():
    of = classes.with_class_means()
    assert ((of.clean >= 0.5).sum().item(), len(of.clean)) == (194, 293)
    assert ((of.attacked >= 0.5).sum().item(), len(of.attacked)) == (168, 294)
    found = classes.auc_over_classes(of)
    assert found.value == pytest.approx(0.567, abs=5e-4)
    assert (found.low, found.high) == (pytest.approx(0.51, abs=0.01), pytest.approx(0.63, abs=0.01))
    assert classes.closest_classes()[:2] == (134, 294) and classes.closest_classes(top=5)[:2] == (212, 294)


def test_no_clean_vector_passes_for_normal():
    found = {name: classes.normality(name) for name in ("imagenet.clean", "cifar.prototypes")}
    assert (found["imagenet.clean"].passed, found["imagenet.clean"].n) == (0, 293)
    assert found["imagenet.clean"].kurtosis == pytest.approx(161, abs=1)
    assert (found["cifar.prototypes"].passed, found["cifar.prototypes"].n) == (0, 10)
    assert found["cifar.prototypes"].kurtosis == pytest.approx(1.5, abs=0.1)


def test_the_18_cells_get_the_verdicts_that_both_readings_allow(book):
    from causalnb.record import Measurement, Record

    estimates = measurements.replayed()
    made = Record.model_construct(
        measurements={
            id: Measurement(estimate=one, data=id.data, rows=book.digests_of(id))
            for id, one in estimates.items()
        },
        profile="quick",
        parameters={},
    )
    words = {v.row.id: v.word for v in ledger.judge(book, made)}
    failed = {"t2.pgd_t", "t2.bim_t", "t2.pgd_u", "t3n5.pgd_u"}
    cells = [f"{kind}.{attack}" for kind in ("t2", "t3n5", "t3n10") for attack in counts.ATTACKS]
    expected = dict.fromkeys(cells, "cannot judge") | dict.fromkeys(failed, "not reproduced")
    assert {id: words[id] for id in cells} == expected | {"t3n10.pgd_u": "reproduced"}
    assert {words[f"claim.T1.{attack}"] for attack in ("bim_t", "bim_u")} == {"not reproduced"}
    assert words["claim.T3.pgd_t"] == words["claim.T13"] == words["s3.proto.5"] == "not reproduced"


@functools.cache
def clean_images():
    return data.load("cifar10", "test")


def test_no_erratum_by_vectors_or_pictures_holds_as_printed(book):
    cells = {row.id: row.printed for row in book.rows if row.kind == "cell"}
    found = errata.by_vectors(cells)
    if not pictures.at_hand():
        pytest.skip(f"the published pictures are not at hand: looked in {pictures.folder()}")
    found += errata.by_pictures(clean_images())
    assert {one.id: (one.value, one.holds) for one in found} == {
        "erratum.E5": (4, False),
        "erratum.E10": (5, False),
        "erratum.E16": (102, False),
        "erratum.E27": (0, False),
        "erratum.E13": (85, False),
        "erratum.E14": (11, False),
    }


def test_fgsm_uses_its_budget_and_bim_and_pgd_do_not():
    if not pictures.at_hand():
        pytest.skip(f"the published pictures are not at hand: looked in {pictures.folder()}")
    test = clean_images()
    found = {name: pictures.change(pictures.read(name), test) for name in pictures.FOLDERS}
    assert {name: (len(one.largest), one.right) for name, one in found.items()} == {
        "fgsm": (100, 100),
        "bim": (95, 95),
        "pgd": (87, 87),
    }
    assert {name: one.largest.unique().tolist() for name, one in found.items()} == {
        "fgsm": [24],
        "bim": [11],
        "pgd": [11],
    }
    assert found["bim"].odd == pytest.approx(0.495, abs=0.002)
