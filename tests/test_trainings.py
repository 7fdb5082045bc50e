import doctest
import math

import numpy as np
import pytest

from causalnb import trainings
from causalnb.statistics import over_seeds, prediction_half_width, proportion
from causalnb.trainings import EVERY, every, one_more, over_resamples


def test_the_examples_are_true():
    assert doctest.testmod(trainings, extraglobs={"proportion": proportion}).failed == 0


def test_over_resamples_of_a_mean_is_over_seeds():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(3, 200)) + np.array([[0.0], [0.5], [1.0]])
    weights = rng.multinomial(200, [1 / 200] * 200, size=4000) / 200
    found = over_resamples(table.mean(1), table @ weights.T, seeds=(0, 1, 2), n=200)
    known = over_seeds(table, seeds=(0, 1, 2))
    assert found.value == pytest.approx(known.value) and found.method == known.method
    assert found.low == pytest.approx(known.low, abs=0.01) and found.n == 200 and found.seeds == (0, 1, 2)


def test_over_resamples_refuses_what_does_not_belong_together():
    with pytest.raises(ValueError, match="k >= 2 seeds"):
        over_resamples([1.0, 2.0], np.ones((3, 5)), seeds=(0, 1), n=9)


def test_the_interval_of_one_more_training_is_the_prediction_interval():
    found = one_more([1.0, 2.0, 3.0], seeds=(0, 1, 2))
    assert found.high - found.value == pytest.approx(prediction_half_width(1.0, 3))
    wider = one_more([1.0, 2.0, 3.0], seeds=(0, 1, 2), of_images=0.25)
    assert wider.high - wider.value == pytest.approx(
        math.hypot(prediction_half_width(1.0, 3), 4.302652 * 0.5), rel=1e-5
    )


def test_what_holds_of_every_training_holds_from_the_lowest_end_to_the_highest():
    each = [proportion(90, 100), proportion(99, 100), proportion(50, 100)]
    found = every(each, seeds=(3, 4, 5))
    assert found.interval == (0.9, each[2].low, each[1].high) and found.method == EVERY
    assert found.n == 100 and found.seeds == (3, 4, 5) and found.level == 0.95
    with pytest.raises(ValueError, match="an estimate for each seed"):
        every(each, seeds=(3, 4))
