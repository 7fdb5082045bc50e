import json

import pytest

from causalnb import UserError, record
from causalnb.record import Measurement, Record, compare
from causalnb.statistics import Estimate


def a_record(measurements=None, data=None, **changes):
    libraries = record.versions()
    sources = {"notebook": record.cells_digest(["x = 1"]), **record.computing_sources()}
    fields = dict(chapter="ace", profile="quick", edition="0.1.0", parameters={"seed": 0}, measurements=measurements or {}, sections=[],
                  source_digest="s", sources=sources, environment={"versions": libraries}, seeds=[0], device="cpu", threads=1,
                  data=data or {}, store=[], started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:01:00+00:00",
                  seconds=60, cpu_seconds=50, peak_memory=1)
    return Record(**(fields | changes))


def measured(value, low=None, high=None, data=""):
    return Measurement(estimate=Estimate(value, low, high, level=0.95, n=10, seeds=(0,), draws="d"), data=data, rows={"T1": "digest"})


def test_a_record_comes_back_as_it_was_written(tmp_path):
    one = a_record({"a.b": measured(0.1, 0.0, 0.2), "c": measured(1.0)})
    assert record.read(one.write(tmp_path / "deep" / "record.json")) == one
    assert record.read(tmp_path / "deep") == one


def test_a_record_is_one_measurement_a_line_and_leaves_no_part_behind(tmp_path):
    file = a_record({f"m{i}": measured(i) for i in range(5)}).write(tmp_path / "record.json")
    assert sum(line.startswith('    "m') for line in file.read_text().splitlines()) == 5
    assert [f.name for f in tmp_path.iterdir()] == ["record.json"]
    assert list(json.loads(file.read_text())["measurements"]) == [f"m{i}" for i in range(5)]


def test_what_is_no_record_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(UserError, match="is not a record of schema 1"):
        record.read(tmp_path)
    with pytest.raises(UserError, match="No record is at"):
        record.read(tmp_path / "absent.json")


def test_compare_tells_same_different_and_not_comparable():
    shared = {"moved": measured(1.0, 0.9, 1.1), "far": measured(1.0, 0.9, 1.1), "gone": measured(1.0)}
    first = a_record({"same": measured(1.0), "t.mnist": measured(1.0, data="mnist"), **shared}, {"mnist": "abc"})
    others = {"same": measured(1.0 + 1e-9), "moved": measured(1.1, 1.0, 1.2), "far": measured(2.0, 1.9, 2.1), "t.mnist": measured(1.0, data="mnist")}
    second = a_record(others, {"mnist": "xyz"})
    found = {row.id: row for row in compare(first, second)}
    words = {"same": "same", "moved": "different", "far": "different", "gone": "not comparable", "t.mnist": "not comparable"}
    assert {k: row.word for k, row in found.items()} == words
    assert found["far"].difference == 1.0
    assert (found["moved"].expected, found["far"].expected, found["same"].expected, found["gone"].expected) == (True, False, True, None)


def test_white_space_and_repetition_do_not_change_the_digest_of_cells_but_code_does():
    assert record.cells_digest(["a = 1 ", "", "b"]) == record.cells_digest(["a = 1\n", "b", "b"])
    assert record.cells_digest(["a = 1"]) != record.cells_digest(["a = 2"])


def test_a_record_is_stale_because_of_the_very_thing_that_changed():
    one = a_record()
    cells = one.sources["notebook"]
    assert record.stale_because(one, cells) == []
    assert record.stale_because(one, "other") == ["the notebook"]
    changed = one.sources | {"causalnb/statistics.py": "0" * 16}
    assert record.stale_because(a_record(sources=changed), cells) == ["causalnb/statistics.py"]
    old = {"versions": record.versions() | {"numpy": "1.0.0"}}
    assert record.stale_because(a_record(environment=old), cells)[0].startswith("numpy 1.0 → ")


def test_files_that_cannot_change_a_number_do_not_count():
    import causalnb.console
    import causalnb.runner  # noqa: F401

    names = record.computing_sources()
    assert "causalnb/statistics.py" in names
    assert not {"causalnb/console.py", "causalnb/runner.py", "causalnb/paths.py"} & set(names)
