"""Counts, ties and classes on vectors written here; what the published files give is test_published_files'."""

import pytest
import torch
from written import cifar, made

from causalnb import data
from causalnb.chapters.counterfactual.replay import classes, counts, pictures, ties


def of(found, id):
    return found[id].interval


def test_k_of_n_published_of_100_lies_between_k_and_k_plus_100_less_n(attacked):
    found = counts.table_2()
    assert of(found, "t2.causadv.pgd_t.interval") == (0.02, 0.02, 0.98)
    assert of(found, "t2.causadv.pgd_t.published") == (0.02, 0.02, 0.02)
    one = found["t2.causadv.pgd_t.interval"]
    assert (one.method, one.n, one.level) == ("bounds", 4, None)
    assert len(found) == 12 and {id.data for id in found} == {("causadv",)}


def test_zero_filters_count_from_n_on(attacked):
    found = counts.table_3()
    # zeros: 9, none (all are shifted), 9, 40
    assert of(found, "t3n5.causadv.fgsm_u.published")[0] == 0.03
    assert of(found, "t3n10.causadv.fgsm_u.interval") == (0.01, 0.01, 0.97)


def test_strategy_1_counts_rejected_and_accepted_images_as_shares_of_those_published_or_all(files):
    few = torch.zeros(4, 30)
    few[1, :5], few[2, :6], few[3, :20] = 0.1, 0.1, 0.1
    keys = [f"{n}__ILSVRC2012_val_{n}.JPEG" for n in range(4)]
    files.update({f"imagenet.{name}": made(few, keys) for name in ("clean", *counts.ATTACKS, "pgd16_t")})
    found = counts.strategy_1()
    assert of(found, "s1.causadv.bim_u.0.published")[0] == 0.25
    assert of(found, "s1.causadv.bim_u.5.interval") == (2 / 300, 2 / 300, 298 / 300)
    assert of(found, "s1.causadv.bim_u.10.published")[0] == 0.75
    assert of(found, "s1.causadv.bim_u.passes.published")[0] == 0.75
    assert of(found, "s1.causadv.clean.5")[0] == 0.5
    files["imagenet.bim_u"] = made(few[:3], keys[:3])
    need = counts.needed()
    assert need["needed.causadv.n.at"].value == 6 and need["needed.causadv.n"].value == 0.75
    assert need["needed.causadv.max"].value == 1
    assert counts.largest_below("imagenet.clean") == {1e-6: 1, 1e-4: 1, 1e-3: 1, 1e-2: 1}


def test_prototypes_are_counted_among_ten_and_a_thousand(attacked):
    attacked["imagenet.prototypes"] = made([[1.0, -1.0], [-1.0, -2.0]], ["n1", "n2"])
    assert of(counts.causal_prototypes(), "proto.causadv.imagenet.interval") == (0.001, 0.001, 0.999)
    assert of(counts.causal_prototypes(), "proto.causadv.cifar.interval") == (1, 1, 1)
    assert of(counts.both_signs(), "signs.causadv.imagenet.published")[0] == 0.5
    assert [one.value for one in counts.zero_prototypes().values()] == [1, 0]


def test_strategy_4_and_successes_by_what_keys_say(attacked):
    found = counts.strategy_4()
    assert found["bim_u", 3, 10, "meeting"] == (3, 2, 3)
    assert len(found) == 6 * 3 * 2
    told = counts.successes()["pgd_u"]
    assert told["label changed"] == (3, 4) and told["S2 accepts changed"] == (2, 3)
    assert told["S2 accepts unchanged"] == (0, 1) and told["S3 accepts unchanged"] == (1, 1)


# Ties and the mask ---------------------------------------------------------------------------------------


def test_a_vector_lies_on_the_grid_of_float32_above_one_half_or_does_not():
    step = 2.0**-24
    ci = torch.tensor([[3 * step, -7 * step, 0.0], [step, 1.5 * step, 0.0], [0.6, 1e-9, 0.0]])
    assert ties.on_grid(ci).tolist() == [True, False, False]
    assert ties.half_or_more(ci).tolist() == [True, False, True]
    p = torch.tensor([0.9, 0.7, 0.4], dtype=torch.float32)
    q = torch.tensor([0.6, 0.55, 0.3], dtype=torch.float32)
    assert ties.on_grid((p - q)[:, None]).tolist() == [True, True, False]


def stale_pair():
    fresh = torch.randn(512, generator=torch.Generator().manual_seed(0)) / 100
    return fresh, fresh - fresh[511]


@pytest.mark.parametrize("order", [1, -1])
def test_two_records_of_an_image_tell_the_mask_that_was_not_put_back(order):
    fresh, old = stale_pair()
    both = (fresh, old)[::order]
    found = ties.twice(made(both[1][None], ["0__1.png_as_2"], repeated=both[0][None], again=[0]))[0]
    assert found.fresh and found.expected == pytest.approx(-fresh[511].item())
    assert found.shift == pytest.approx(found.expected, abs=1e-8) and found.spread < 1e-8
    assert found.causal == (int((fresh > 0).sum()), int((old > 0).sum()))


def test_a_difference_that_is_not_the_same_in_every_filter_has_a_spread():
    fresh, old = stale_pair()
    old[3] += 0.5
    found = ties.pair("k", fresh, old)
    assert found.spread == pytest.approx(0.25, abs=1e-6)
    assert not ties.pair("k", fresh, fresh).fresh


def test_stale_vectors_zero_frequencies_and_multiplicity():
    fresh, old = stale_pair()
    ci = torch.stack([fresh, old, torch.where(torch.arange(512) < 5, 0.25, old)])
    vectors = made(ci, ["0__1.png_as_1", "0__2.png_as_1", "0__3.png_as_1"])
    assert ties.stale(vectors).tolist() == [False, True, True]
    assert ties.zero_frequency(vectors)[0] == pytest.approx(2 / 3)
    assert ties.multiplicity(vectors).tolist() == [1, 1, 5]


def test_two_attacks_are_alike_by_image_label_and_vector():
    ci = torch.randn(3, 512)
    one = made(ci, ["0__1.png_as_2", "0__2.png_as_3", "0__3.png_as_3"])
    other = made(torch.stack([ci[0], ci[1] + 1, ci[2]]), ["0__1.png_as_2", "0__2.png_as_3", "0__3.png_as_4"])
    assert ties.alike(one, other) == ties.Alike(common=3, labels=2, vectors=1)
    assert [found.key for found in ties.across(one, other)] == ["0__1.png_as_2", "0__2.png_as_3"]


def test_ties_are_counted_against_the_spread_of_ci(files):
    g = torch.Generator().manual_seed(0)
    wide, narrow = torch.randn(5, 12, generator=g), 1e-6 * torch.randn(3, 12, generator=g)
    narrow[:, :6] = 0
    rows = [*wide, *narrow]
    files.update({f"cifar.{a}": cifar(rows, [0] * 8) for a in counts.ATTACKS})
    found = ties.ties()
    assert (found.n, found.many, found.spread, found.of_many) == (48, 18, 30, 0) and found.widest < 1e-5
    assert all(-1 <= rho < -0.7 for rho in found.spearman.values())


# Classes -------------------------------------------------------------------------------------------------


def test_attacked_images_are_compared_with_clean_ones_of_their_target(imagenet):
    of = classes.with_class_means()
    assert of.clean_classes.tolist() == [100] * 4 + [101] * 4  # neither the constant nor the class 149
    assert of.attacked_classes.tolist() == [100, 100, 100, 101, 101]
    assert (of.clean > 0.9).all() and (of.attacked[:3] > 0.9).all() and (of.attacked[3:] < 0.5).all()
    assert classes.closest_classes() == (3, 5, 8, 8) and classes.closest_classes(top=2) == (5, 5, 8, 8)


def test_the_auc_over_classes_is_the_share_of_pairs_and_its_interval_draws_classes():
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([0.5, 0.75, 0.4, 0.6])
    kinds = torch.tensor([1, 1, 2, 2])
    found = classes.auc_over_classes(classes.Matched(scores[0], kinds, scores[1], kinds))
    wins = sum((a > b) + 0.5 * (a == b) for a in scores[0].tolist() for b in scores[1].tolist())
    assert found.value == pytest.approx(wins / 16) and found.n == 2
    assert found.low <= found.value <= found.high


def test_single_statistics_are_detectors_of_more_zeros_fewer_causes_smaller_ci(files):
    keys = [f"{n}__ILSVRC2012_val_{n}.JPEG" for n in range(20)]
    g = torch.Generator().manual_seed(0)
    clean = torch.rand(20, 30, generator=g) + 0.5
    files["imagenet.clean"], files["imagenet.bim_u"] = made(clean, keys), made(0 * clean, keys)
    for statistic, auc, rate in (("causal", 1.0, 1.0), ("largest", 1.0, 1.0), ("zeros", 0.0, 0.0)):
        found, flagged = classes.single(statistic, "bim_u")
        assert (found.value, flagged) == (auc, rate)


def test_normality_passes_a_normal_sample_and_not_a_spiked_one(files):
    g = torch.Generator().manual_seed(1)
    rows = torch.randn(3, 512, generator=g)
    rows[1] = rows[1] ** 7
    rows[2] = 0.25
    files["x"] = made(rows, ["a", "b", "c"])
    found = classes.normality("x")
    assert (found.passed, found.n) == (1, 2) and found.kurtosis > 20


# Pictures ------------------------------------------------------------------------------------------------


def test_pictures_are_compared_with_the_test_images_of_their_numbers(tmp_path):
    from PIL import Image

    g = torch.Generator().manual_seed(0)
    clean = torch.randint(40, 200, (6, 3, 32, 32), generator=g)
    test = data.Images(
        "x", "test", clean.float() / 255, torch.tensor([0, 1, 2, 0, 1, 2]), ("a", "b", "c"), ""
    )
    for name, moved in (("BIM_10", 3), ("PGD_10", 3), ("FGSM_10", 8)):
        for number in (1, 4):
            kind = tmp_path / name / str(int(test.labels[number]))
            kind.mkdir(parents=True, exist_ok=True)
            pixels = clean[number].clone()
            pixels[:, 0] += moved
            pixels[:, 1] -= 2
            Image.fromarray(pixels.permute(1, 2, 0).to(torch.uint8).numpy()).save(kind / f"{number}.png")
    bim, pgd, fgsm = (pictures.read(name, root=tmp_path) for name in ("bim", "pgd", "fgsm"))
    assert bim.numbers.tolist() == [1, 4] and len(bim) == 2
    assert pictures.equal(bim, pgd) == (2, 2) and pictures.equal(bim, fgsm) == (0, 2)
    found = pictures.change(bim, test)
    assert found.largest.tolist() == [3, 3] and (found.least, found.most, found.right) == (-2, 3, 2)
    assert found.mean == pytest.approx(5 / 32) and found.odd == pytest.approx(1 / 32)


def test_missing_pictures_are_told_and_another_size_is_refused(tmp_path):
    from PIL import Image

    from causalnb import UserError

    with pytest.raises(UserError, match=r"looked for .*BIM_10/CLASS/NUMBER.png"):
        pictures.read("bim", root=tmp_path)
    assert not pictures.at_hand()
    (tmp_path / "BIM_10" / "3").mkdir(parents=True)
    Image.new("RGB", (16, 32)).save(tmp_path / "BIM_10" / "3" / "7.png")
    with pytest.raises(UserError, match="7.png is of 16 x 32 pixels, not 32 x 32"):
        pictures.read("bim", root=tmp_path)
    (tmp_path / "BIM_10" / "3" / "7.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="7.png cannot be read as a picture"):
        pictures.read("bim", root=tmp_path)
