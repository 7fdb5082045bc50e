"""What else the published vectors tell, on vectors written here."""

import pytest
import torch
from written import made

from causalnb.chapters.counterfactual.parameters import Parameters
from causalnb.chapters.counterfactual.replay import details
from causalnb.chapters.counterfactual.replay.counts import ATTACKS

PRINTED = {"t1.clean": "169/300", "t2.clean": "65/100", "t3n5.clean": "65/100", "t3n10.clean": "36/100"}


def test_half_of_the_vectors_without_causal_filters_is_a_count_a_number_and_a_share_with_its_interval(files):
    keys = [f"{n}__ILSVRC2012_val_{n}.JPEG" for n in range(4)]
    ci = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [0.5, 0.0], [0.1, -0.1]])
    files |= {"imagenet.bim_u": made(ci, keys), "imagenet.bim_t": made(ci[2:], keys[2:])}
    found = details.among_published()
    assert [found[f"rejected.causadv.bim_u{what}"].value for what in ("", ".count", ".of")] == [0.5, 2, 4]
    share = found["rejected.causadv.bim_t"]
    assert (share.value, share.n, share.method) == (0, 2, "wilson") and share.high > 0.5


def test_strategy_4_is_a_share_whose_ends_are_the_least_and_the_most_over_ties(attacked):
    one = details.strategy_4()["s4.causadv.bim_u.3_10.meeting"]
    assert (one.value, one.low, one.high, one.n, one.method) == (0.75, 0.5, 0.75, 4, "over ties")


def test_keys_tell_changed_and_unchanged_labels_and_leave_out_what_is_of_no_image(attacked):
    found = details.by_keys()
    assert found["keys.causadv.pgd_u.label_changed"].value == 0.75
    assert found["keys.causadv.pgd_u.S2_accepts_changed"].value == pytest.approx(2 / 3)
    attacked["cifar.pgd_u"] = made(attacked["cifar.pgd_u"].ci[:1], ["0__0.png_as_3"])
    assert "keys.causadv.pgd_u.S2_accepts_unchanged" not in details.by_keys()


def test_zeros_and_spread_are_counted_apart(files):
    wide, narrow = torch.arange(12.0).repeat(3, 1), 1e-6 * torch.arange(12.0).repeat(2, 1)
    narrow[:, :6] = 0
    keys = [f"0__{n}.png_as_0" for n in range(5)]
    files |= {f"cifar.{a}": made(torch.cat([wide, narrow]), keys) for a in ATTACKS}
    found = details.spread()
    told = {id.rpartition(".")[2]: one.value for id, one in found.items() if "spearman" not in id}
    assert told["many"] == pytest.approx(12 / 30)
    assert (told["wide"], told["many_among_wide"]) == (18, 0) and told["widest"] < 1e-5
    spread, zeros = details.points("cifar.bim_u")
    assert zeros.tolist() == [1, 1, 1, 6, 6] and spread[0] == pytest.approx(wide[0].std().item())


def test_prototypes_have_their_zeros_by_class(attacked):
    found = details.zeros_of_prototypes()
    assert [found[f"zeros.causadv.{k}"].value for k in range(10)] == [9.0] * 10


def test_targeted_pgd_is_put_beside_clean_images_of_its_target(imagenet):
    found = details.matched()
    assert found["matched.causadv.accepted.clean"].value == 1
    assert found["matched.causadv.accepted.pgd_t"].value == pytest.approx(3 / 5)
    assert found["matched.causadv.among_1.pgd_t"].value == pytest.approx(3 / 5)
    assert found["matched.causadv.rate"].value == pytest.approx(2 / 5)


def test_false_alarms_are_what_the_clean_row_does_not_accept():
    found = details.alarms(PRINTED)
    assert found["t1"] == (131, 300) and found["t1 right"] == (67, 236)
    assert found["t2"] == (35, 100) and found["t3n10"] == (64, 100)


def test_the_chance_is_a_product_over_attacks(files):
    keys = [f"0__{n}.png_as_0" for n in range(50)]
    files |= {f"cifar.{a}": made(torch.zeros(50, 4), keys) for a in ATTACKS}
    printed = {f"t3n10.{a}": "01/100" if a == "fgsm_t" else "00/300" for a in ATTACKS}
    assert details.all_published(printed)["chance.t3n10"].value == pytest.approx(0.5)


def test_a_quick_run_reads_no_pictures():
    class Quick:
        p = Parameters.resolve({"profile": "quick"})

    assert details.test_set(Quick()) is None
