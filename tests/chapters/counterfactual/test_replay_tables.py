"""The replay laid out, from estimates written here."""

import pytest

from causalnb import ledger, record
from causalnb.chapters.counterfactual import replay_tables
from causalnb.chapters.counterfactual.replay.counts import ATTACKS
from causalnb.statistics import Estimate, bounds, exact


@pytest.fixture
def printed():
    return {row.id: row.printed for row in ledger.load("counterfactual").rows if row.kind == "cell"}


def pair(id, k, n, of, whole):
    return {f"{id}.interval": bounds(k, n, of), f"{id}.published": exact(k / whole, n=n)}


def test_a_dumbbell_has_what_is_printed_what_is_counted_and_what_the_unpublished_could_add(printed):
    found = {}
    for attack in (*replay_tables.FIRST, *replay_tables.OTHERS):
        found |= pair(f"s1.causadv.{attack}.0", 5, 20, 300, 20)
    top = replay_tables.strategy_1(found)
    assert list(top)[:2] == ["BIM", "BIM, targeted"]
    first = top["BIM"]
    assert (first.printed, first.said) == (100, "100 %, 5 of 20")
    assert (first.counted, first.most) == (pytest.approx(5 / 3), pytest.approx(95))
    assert top["FGSM"].printed == 0 and top["FGSM"].said == "none, 5 of 20"
    for table in replay_tables.PANELS:
        for attack in ATTACKS:
            found |= pair(f"{table}.causadv.{attack}", 4, 40, 100, 100)
    below = replay_tables.tables_2_and_3(found, printed)
    one = below["S2 accepts (Table 2)"]["FGSM"]
    assert (one.printed, one.counted, one.most) == (25, 4, 64) and not one.said


def test_what_is_shown_is_said_to_be_of_this_run_of_another_or_of_none():
    assert "counted on them in this run" in replay_tables.told(True, None)
    assert "so the replay is not shown" in replay_tables.told(False, None)
    old = record.Record.model_construct(finished="2026-01-02T03:04:05+00:00", profile="laptop")
    said = replay_tables.told(False, old)
    assert "is not of this run" in said and "2026-01-02" in said and "laptop" in said


def test_a_published_record_without_a_replay_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(replay_tables.paths, "published_root", lambda: tmp_path)
    assert replay_tables.last_published() is None
    made = {}
    for name, ids in (("laptop-cpu", ["rejected.causadv.bim_u"]), ("quick-cpu", ["t11"])):
        (tmp_path / "counterfactual" / name).mkdir(parents=True)
        (tmp_path / "counterfactual" / name / "record.json").write_text("{}")
        one = {id: record.Measurement(estimate=exact(0.5)) for id in ids}
        made[name] = record.Record.model_construct(measurements=one, finished="2026-01-01", profile="laptop")
    monkeypatch.setattr(replay_tables.record, "read", lambda file: made[file.parent.name])
    assert replay_tables.last_published() is made["laptop-cpu"]
    assert replay_tables.estimates_of(made["quick-cpu"]) == {"t11": exact(0.5)}


def test_counts_stand_as_whole_numbers_and_ties_in_brackets():
    ids = replay_tables._fours("bim_u")
    found = {
        id: Estimate(0.5, 0.25, 0.5, method="over ties", n=4)
        for a in ATTACKS
        for id in replay_tables._fours(a)
    }
    found[ids[0]] = Estimate(0.25, 0.25, 0.25, method="over ties", n=4)
    line = replay_tables.shared(found)[-1]
    assert line[:4] == ("BIM", "4", "1", "2 (1 to 2)") and len(line) == len(replay_tables.columns_of())


def test_a_key_that_tells_of_no_image_is_a_dash():
    found = {f"keys.causadv.{a}.label_changed": exact(0.5, n=4) for a in ATTACKS}
    assert replay_tables.by_key(found)[0] == ("FGSM, targeted", "2 of 4", "–", "–", "–", "–", "–")


def test_the_printed_counts_by_themselves(printed):
    assert replay_tables.alarmed(printed)[0][1:] == ("131 of 300", "43.7%")
    lines = {line[0]: line[1:] for line in replay_tables.separated(printed)}
    assert lines["PGD"][0].startswith("-0.05 (") and lines["PGD"][1] == "0.28"
