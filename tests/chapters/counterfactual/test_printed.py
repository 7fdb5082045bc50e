import pytest
from scipy import stats

from causalnb.chapters.counterfactual import printed


def test_a_printed_count_is_two_numbers():
    assert printed.count("03/100") == (3, 100) and printed.count("00/300", of=100) == (0, 100)


def test_youdens_j_is_accepted_clean_less_accepted_attacked_images_with_fishers_p():
    found = printed.separation((169, 300), (183, 300))
    assert found.detected.value == pytest.approx(-14 / 300)
    assert found.p == pytest.approx(stats.fisher_exact([[131, 169], [117, 183]]).pvalue)
    assert found.detected.low < found.detected.value < found.detected.high


def test_all_rows_are_separated_from_the_clean_one():
    found = printed.separations({"clean": (65, 100), "a": (11, 100), "b": (65, 100)})
    assert set(found) == {"a", "b"} and found["b"].detected.value == 0 and found["b"].p == pytest.approx(1)


def test_how_much_clearer_the_second_table_is_has_the_error_of_both():
    first, second = printed.separation((60, 100), (40, 100)), printed.separation((60, 100), (10, 100))
    found = printed.clearer(first, second)
    assert found.value == pytest.approx(0.3) and found.n == 100
    half = [one.detected.value - one.detected.low for one in (first, second)]
    assert found.value - found.low == pytest.approx((half[0] ** 2 + half[1] ** 2) ** 0.5)


def test_false_alarms_are_of_all_clean_images_or_of_those_classified_right():
    found = printed.false_alarms((169, 300), 64, 211)
    assert found == printed.FalseAlarms((131, 300), (67, 236), (67, 211))


def test_counts_of_sets_that_meet_cannot_fall():
    assert printed.can_fall((164, 182, 128)) and not printed.can_fall((1, 1, 2))


def test_the_chance_that_all_lie_among_the_published_is_hypergeometric():
    assert printed.all_among(1, 45, 100) == pytest.approx(0.45)
    assert printed.all_among(2, 45, 100) == pytest.approx(45 / 100 * 44 / 99)
    assert printed.all_among(0, 45, 100) == pytest.approx(1)
