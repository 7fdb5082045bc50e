import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalnb.chapters.counterfactual import readings

few = settings(max_examples=50, deadline=None, derandomize=True)


def logits(seed, *shape, scale=3.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two(margin, less):
    """Logits of two classes with that margin, and without a filter that votes `less`."""
    whole = torch.tensor([[float(margin), 0.0]], dtype=torch.float64)
    without = torch.tensor([[[margin - vote, 0.0] for vote in less]], dtype=torch.float64)
    return whole, without


def ours(whole, without, **options):
    return readings.information(*readings.log_odds(whole, without, **options))


def test_the_two_class_table_is_the_logistic_function_at_both_margins():
    assert ours(*two(2, [1]))[0, 0].item() == pytest.approx(0.149738499, abs=5e-10)
    assert ours(*two(20, [1]))[0, 0].item() == pytest.approx(3.541643e-9, rel=1e-6)


@pytest.mark.parametrize("margin", [0, 3, 20, 37, 60, 300, 700])
def test_ci_keeps_its_last_places_where_the_probability_is_1(margin):
    found = ours(*two(margin, [1.0, 0.0, -1.0]))[0].tolist()
    odds = [1 / (1 + math.exp(margin - vote)) for vote in (0, 1, 0, -1)]  # 1 - P
    assert found[0] == pytest.approx(odds[1] - odds[0], rel=1e-9) and found[0] > 0
    assert found[1] == 0 and math.copysign(1, found[1]) == 1
    assert found[2] == pytest.approx(odds[3] - odds[0], rel=1e-9) and found[2] < 0


@given(st.integers(0, 10_000), st.floats(0.1, 30))
@few
def test_log_odds_have_the_sign_of_ci_and_no_ceiling(seed, scale):
    whole, without = logits(seed, 3, 4, scale=scale), logits(seed + 1, 3, 7, 4, scale=scale)
    before, after = readings.log_odds(whole, without)
    assert torch.equal((before[:, None] - after).sign(), readings.information(before, after).sign())


@given(st.integers(0, 10_000))
@few
def test_ci_is_the_difference_of_softmaxes(seed):
    whole, without = logits(seed, 3, 4), logits(seed + 1, 3, 7, 4)
    y = whole.argmax(1)
    p, q = whole.softmax(1), without.softmax(2)
    text = torch.stack([p[i, y[i]] - q[i, :, y[i]] for i in range(3)])
    code = p.amax(1)[:, None] - q.amax(2)
    for reading, expected in (("text", text), ("code", code)):
        assert (ours(whole, without, reading=reading) - expected).abs().max() < 1e-12
        plain = readings.subtracted(whole, without, precision="float64", reading=reading)
        assert (plain - expected).abs().max() < 1e-15
    assert (ours(whole, without, reading="code") <= ours(whole, without) + 1e-15).all()


def test_float32_gives_0_where_float64_does_not_and_float64_where_the_log_odds_do_not():
    at = {margin: two(margin, [1.0]) for margin in (8, 20, 40)}
    float32 = {m: readings.subtracted(*pair)[0, 0].item() for m, pair in at.items()}
    float64 = {m: readings.subtracted(*pair, precision="float64")[0, 0].item() for m, pair in at.items()}
    assert float32[8] > 0 and float32[20] == float32[40] == 0
    assert float64[20] == pytest.approx(3.541643e-9, rel=1e-6) and float64[40] == 0
    assert ours(*at[40])[0, 0] > 0
    before, after = readings.log_odds(*at[40])
    assert (before - after).item() == pytest.approx(1.0, rel=1e-12)


def test_a_margin_is_the_log_odds_of_a_class_against_all_others():
    z = logits(3, 5, 4)
    y = torch.tensor([0, 3, 2, 1, 1])
    p = z.softmax(1).gather(1, y[:, None])[:, 0]
    assert (readings.margins(z, y) - (p / (1 - p)).log()).abs().max() < 1e-12
    with pytest.raises(ValueError, match="at least two"):
        readings.margins(z[:, :1], y * 0)


def test_a_baseline_that_lacks_a_filter_shifts_ci_by_that_filters():
    ci = logits(0, 3, 6)
    assert torch.equal(readings.stale(ci), ci - ci[:, 5:]) and (readings.stale(ci)[:, 5] == 0).all()
    assert (readings.stale(ci, 2)[:, 2] == 0).all()
