"""What the published executions keep to, judged by today's ledgers."""

import json
import math

import numpy as np
import pytest
from scipy.stats import t as student

from causalnb import ledger, runner
from causalnb.ledger import source

PUBLISHED = [(one, executed) for one in runner.chapters().values() for executed in runner.published(one)]


@pytest.mark.parametrize(("one", "executed"), PUBLISHED, ids=[one.name for one, _ in PUBLISHED])
def test_no_value_is_inside_by_a_tolerance_beyond_its_cap(one, executed):
    """The half width of a prediction interval for one more training, from the values of each seed, by hand."""
    path = source._spreads_of(one.name)
    values = json.loads(path.read_text())["values"] if path.exists() else {}
    for verdict in ledger.judge(ledger.load(one.name), executed.record):
        for reading in verdict.readings:
            of = values.get(reading.id, ())
            if verdict.row.kind == "cell" and reading.word == "reproduced" and of:
                half = student.ppf(0.975, len(of) - 1) * np.std(of, ddof=1) * math.sqrt(1 + 1 / len(of))
                half *= verdict.row.scale("")
                assert half <= verdict.row.cap and half <= reading.tol, reading.id
                assert abs(verdict.row.off(reading.estimate)[0]) <= reading.tol, reading.id
