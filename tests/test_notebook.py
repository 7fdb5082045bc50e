import json
from dataclasses import dataclass

import pytest
import torch

from causalnb import UserError
from causalnb.notebook import begin, find_device
from causalnb.record import MeasurementId
from causalnb.statistics import exact


@dataclass
class Check:
    id: str = "check.D4"
    what: str = "the mean effect is 0"
    value: float = 1e-16
    bound: float = 1e-12
    holds: bool = True
    n: int = 7


def test_begin_takes_keywords_in_a_script():
    run = begin("ace", eps=0.2)
    assert (run.p.eps, run.p.profile, run.p.data) == (0.2, "quick", "digits")
    assert run.ledger.chapter == "ace"


def test_begin_refuses_what_is_unknown_impossible_or_absent():
    with pytest.raises(UserError, match="epss is not a parameter"):
        begin("ace", epss=0.2)
    with pytest.raises(UserError, match="mnist is not at hand"):
        begin("ace", data="mnist")
    with pytest.raises(UserError, match="acer is not a chapter"):
        begin("acer")


def test_a_device_that_is_not_there_is_a_sentence_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        UserError, match="device = 'cuda' is not possible: .* Choose device=cpu or device=auto."
    ):
        begin("ace", device="cuda")
    assert find_device("auto").type == "cpu"


def test_a_measurement_carries_its_rows_its_section_and_its_data():
    run = begin("ace")
    run.section("tables")
    id = MeasurementId.of("table", data="digits", set="clean", column="S_mean", rest="R1.logit.true")
    run.measure(id, exact(0.5))
    run.check(Check())
    record = run.record()
    one = record.measurements["table.digits.clean.S_mean.R1.logit.true"]
    assert (one.section, one.data) == ("tables", ("digits",))
    check = record.measurements["check.D4"]
    assert check.estimate.value == 1.0 and check.rows == {
        "check.D4": next(row.digest for row in run.ledger.rows if row.id == "check.D4")
    }


def test_data_are_said_and_never_guessed_from_an_id():
    run = begin("ace")
    with pytest.raises(ValueError, match='x.digits.y does not say which data it was taken on: give data=""'):
        run.measure("x.digits.y", exact(1.0))
    run.measure("x.digits.y", exact(1.0), data="")
    run.measure_all({"a": exact(1.0)}, data=("digits", "my.set v1.0"))
    run.measure(MeasurementId.of("b", data="my.set v1.0", attack="pgd"), exact(1.0))
    run.measure(MeasurementId.of("c", data="digits"), exact(1.0), data="shapes")
    found = {id: one.data for id, one in run.measurements.items()}
    assert found == {
        "x.digits.y": (),
        "a": ("digits", "my.set v1.0"),
        "b.my.set v1.0.pgd": ("my.set v1.0",),
        "c.digits": ("shapes",),
    }


def test_every_measured_id_says_its_kind_its_parts_and_its_data_also_one_given_as_text():
    run = begin("ace")
    run.measure("claim.T14", exact(1.0), data=("digits", "shapes"))
    run.measure(MeasurementId.of("claim", claim="T6", data="digits"), exact(1.0))
    assert [(id.kind, dict(id.parts), id.data) for id in run.estimates("claim.*")] == [
        ("claim.T14", {}, ("digits", "shapes")),
        ("claim", {"claim": "T6", "data": "digits"}, ("digits",)),
    ]


def test_measuring_twice_replaces():
    run = begin("ace")
    for value in (1.0, 2.0):
        run.measure("x", exact(value), data="")
    assert len(run.measurements) == 1 and run.measurements["x"].estimate.value == 2.0


def test_estimates_are_those_measured_whose_whole_id_matches():
    run = begin("ace")
    made = {
        id: run.measure(id, exact(float(number)), data="")
        for number, id in enumerate(("x.b", "x.a", "x.ab", "y.a"))
    }
    assert run.estimates("*") == made and list(run.estimates("x.*")) == ["x.b", "x.a", "x.ab"]
    assert run.estimates("*.a") == {id: made[id] for id in ("x.a", "y.a")} and run.estimates("x.a") == {
        "x.a": made["x.a"]
    }
    assert run.estimates("x") == run.estimates("") == {}


def test_values_are_printed_rounded_and_in_order(capsys):
    run = begin("ace")
    for name in "ba":
        run.measure(f"x.{name}", exact(1 / 3), data="")
    run.values("x.*", digits=2)
    assert capsys.readouterr().out == "x.a 0.33\nx.b 0.33\n"


def test_finish_writes_the_record_with_what_made_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALNB_RECORD", str(tmp_path / "record.json"))
    run = begin("ace", seed=5)
    run.section("one")
    images = run.load("digits")
    run.measure("x", exact(1.0), data="")
    run.finish()
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["parameters"]["seed"] == 5 and record["seeds"] == [5]
    assert record["data"] == {"digits": images.digest}
    assert [section["name"] for section in record["sections"]] == ["one"]
    assert "causalnb/parameters.py" in record["sources"] and "causalnb/notebook.py" not in record["sources"]
    assert record["environment"]["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert str(tmp_path) not in (tmp_path / "record.json").read_text()
