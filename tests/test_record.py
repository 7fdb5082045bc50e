import ast
import errno
import json
import math
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalnb import UserError, record
from causalnb.record import Measurement, MeasurementId, Record, compare
from causalnb.statistics import Estimate, exact, logic, mean, paired_difference, proportion, spread


def a_record(measurements=None, data=None, **changes):
    libraries = record.versions()
    sources = {"notebook": record.cells_digest(["x = 1"]), **record.computing_sources()}
    fields = dict(
        chapter="ace",
        profile="quick",
        edition="0.1.0",
        parameters={"seed": 0},
        measurements=measurements or {},
        sections=[],
        source_digest="s",
        sources=sources,
        environment={"versions": libraries},
        seeds=[0],
        device="cpu",
        threads=1,
        data=data or {},
        store=[],
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:01:00+00:00",
        seconds=60,
        cpu_seconds=50,
        peak_memory=1,
    )
    return Record(**(fields | changes))


def measured(value, low=None, high=None, data=()):
    return Measurement(
        estimate=Estimate(value, low, high, level=0.95, n=10, seeds=(0,), draws="d"),
        data=data,
        rows={"T1": "digest"},
    )


def test_a_record_comes_back_as_it_was_written(tmp_path):
    one = a_record({"a.b": measured(0.1, 0.0, 0.2), "c": measured(1.0)})
    assert record.read(one.write(tmp_path / "deep" / "record.json")) == one
    assert record.read(tmp_path / "deep") == one


def test_a_record_is_one_measurement_a_line_and_leaves_no_part_behind(tmp_path):
    file = a_record({f"m{i}": measured(i) for i in range(5)}).write(tmp_path / "record.json")
    assert sum(line.startswith('    "m') for line in file.read_text().splitlines()) == 5
    assert [f.name for f in tmp_path.iterdir()] == ["record.json"]
    assert list(json.loads(file.read_text())["measurements"]) == [f"m{i}" for i in range(5)]


KINDS = {
    "holds": Measurement(
        estimate=logic(True, n=7), what="the mean effect is 0", section="checks", rows={"check.D4": "abc"}
    ),
    "does not hold": Measurement(
        estimate=logic(False), section="checks", rows={"check.D4": "abc", "check.D5": "abd"}
    ),
    "count": Measurement(estimate=exact(71, n=0, unit="%"), what="rows"),
    "share": Measurement(estimate=proportion(0, 20, level=0.99, seeds=(0, 1, 2)), data=("mnist",)),
    "mean": Measurement(estimate=mean([1.0, 2.0, 4.0], seeds=(3,)), section="tables"),
    "sd": Measurement(estimate=spread([1.0, 2.0, 4.0]), section="tables"),
    "difference": Measurement(
        estimate=paired_difference([1.0, 2.0, 4.0], [0.0, 2.5, 3.0]), data=("mnist",), rows={"T1": "abc"}
    ),
    "zeros": Measurement(
        estimate=Estimate(0.0, 0.0, 0.0, level=0.95, n=3, seeds=(0,), p=0.0, draws="0" * 16, unit="pixels")
    ),
    "single draw": Measurement(
        estimate=Estimate(3.0, level=0.95, method="bootstrap mean", n=1, draws="1" * 16, unit="logit")
    ),
    "third": Measurement(estimate=exact(1 / 3)),
    "large": Measurement(estimate=exact(1e300)),
    "small": Measurement(estimate=exact(-5e-324)),
}


@pytest.mark.parametrize(
    "names",
    [[name] for name in KINDS] + [list(KINDS)],
    ids=lambda names: names[0] if len(names) == 1 else "all",
)
def test_every_kind_of_measurement_comes_back_as_it_was_written(tmp_path, names):
    one = a_record({name: KINDS[name] for name in names})
    back = record.read(one.write(tmp_path / "record.json"))
    assert back == one and record.read(back.write(tmp_path / "again.json")) == one
    assert (tmp_path / "again.json").read_text() == (tmp_path / "record.json").read_text()


def test_a_zero_keeps_its_sign(tmp_path):
    zeros = {"plus": Estimate(0.0, -0.0, 0.0), "minus": Estimate(-0.0, -0.0, 0.0)}
    back = record.read(
        a_record({id: Measurement(estimate=one) for id, one in zeros.items()}).write(tmp_path / "record.json")
    ).measurements
    assert {
        id: [math.copysign(1, end) for end in (one.estimate.value, one.estimate.low, one.estimate.high)]
        for id, one in back.items()
    } == {"plus": [1, -1, 1], "minus": [-1, -1, 1]}


def test_what_measurements_have_in_common_stands_in_the_file_once(tmp_path):
    alike = {
        f"m{i}": Measurement(
            estimate=Estimate(i, i - 1, i + 1, level=0.95, n=10, p=i / 10, draws=f"{i}"),
            what="w",
            rows={"T1": "abc"},
        )
        for i in range(5)
    }
    others = {
        change: one.model_copy(
            update={change: {"what": "v", "section": "s", "data": ("d",), "rows": {"T1": "abd"}}[change]}
        )
        for change, one in zip(("what", "section", "data", "rows"), alike.values(), strict=False)
    }
    content = json.loads(a_record(alike | others).write(tmp_path / "record.json").read_text())
    own, shared = content["measurements"], content["shared"]
    assert shared[own["m0"]["of"]] == {
        "what": "w",
        "rows": {"T1": "abc"},
        "estimate": {"level": 0.95, "method": "exact", "n": 10},
    }
    assert len({own[id]["of"] for id in alike}) == 1 and len(shared) == 1 + len(others)
    assert own["m3"] == {"value": 3, "low": 2, "high": 4, "p": 0.3, "draws": "3", "of": own["m0"]["of"]}


def test_a_file_of_schema_1_whose_measurements_are_whole_still_reads(tmp_path):
    whole = {
        "a": {
            "estimate": {
                "value": 0.5,
                "low": 0.4,
                "high": 0.6,
                "level": 0.95,
                "method": "wilson",
                "n": 20,
                "seeds": [0, 1],
            },
            "rows": {"T1": "abc"},
        },
        "b": {"estimate": {"value": 0.0, "method": "logic"}, "what": "it holds", "section": "checks"},
    }
    content = json.loads(a_record().write(tmp_path / "record.json").read_text()) | {
        "schema_version": 1,
        "measurements": whole,
    }
    del content["shared"]
    (tmp_path / "record.json").write_text(json.dumps(content))
    expected = {
        "a": Measurement(estimate=Estimate(0.5, 0.4, 0.6, 0.95, "wilson", 20, (0, 1)), rows={"T1": "abc"}),
        "b": Measurement(estimate=logic(False), what="it holds", section="checks"),
    }
    assert record.read(tmp_path).measurements == expected


@pytest.mark.parametrize("number", ["1", "", 0, None, ["0"], "absent"])
def test_a_measurement_whose_number_names_nothing_is_refused_in_a_sentence(tmp_path, number):
    file = a_record({"a": measured(1.0)}).write(tmp_path / "record.json")
    content = json.loads(file.read_text())
    content["measurements"]["a"]["of"] = number
    if number == "absent":
        del content["measurements"]["a"]["of"]
    file.write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        record.read(file)
    assert (
        str(error.value).startswith(f"{file} is not a record of schema 3: ")
        and len(str(error.value).splitlines()) == 1
    )


@pytest.mark.parametrize(
    "damage",
    [
        [],
        3,
        {"measurements": [1]},
        {"measurements": {"a": 1.0}},
        {"measurements": {"a": ["0"]}},
        {"shared": {}},
        {"shared": []},
        {"shared": ["0"]},
        {"shared": {"0": "text"}},
        {"shared": {"0": {}}},
        {"shared": {"0": {"estimate": 1.0}}},
    ],
    ids=json.dumps,
)
def test_a_file_of_another_shape_is_refused_in_a_sentence(tmp_path, damage):
    file = a_record({"a": measured(1.0)}).write(tmp_path / "record.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | damage if isinstance(damage, dict) else damage))
    with pytest.raises(UserError, match="is not a record of schema 3: "):
        record.read(file)


def test_what_is_no_record_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(UserError, match="is not a record of schema 3"):
        record.read(tmp_path)
    with pytest.raises(UserError, match="No record is at"):
        record.read(tmp_path / "absent.json")


@pytest.mark.parametrize("schema", [1, 2])
def test_an_older_record_that_does_not_say_its_data_is_compared_by_values(tmp_path, schema):
    """Its data were guessed from the id: an empty guess is unknown, not "none"."""
    a_record({"acc": measured(1.0), "t": measured(1.0, data=("mnist",))}, {"mnist": "abc"}).write(
        tmp_path / "r.json"
    )
    content = json.loads((tmp_path / "r.json").read_text()) | {"schema_version": schema}
    for shared in content["shared"].values():
        shared["data"] = "mnist" if shared["data"] else ""
    (tmp_path / "r.json").write_text(json.dumps(content))
    old = record.read(tmp_path / "r.json")
    assert {id: one.data for id, one in old.measurements.items()} == {"acc": None, "t": ("mnist",)}
    new = {"acc": measured(1.0, data=("digits",)), "t": measured(1.0, data=("mnist",))}
    words = {row.id: row.word for row in compare(old, a_record(new, {"mnist": "abc", "digits": "d"}))}
    assert words == {"acc": "same", "t": "same"}


def test_measurements_on_different_data_are_not_comparable_whatever_their_ids_say():
    first = a_record({"acc": measured(1.0, data=("digits",)), "logic": measured(1.0)}, {"digits": "d"})
    second = a_record({"acc": measured(1.0, data=("mnist",)), "logic": measured(1.0)}, {"mnist": "m"})
    assert {row.id: row.word for row in compare(first, second)} == {"acc": "not comparable", "logic": "same"}


@pytest.mark.parametrize("name", ["mnist", "my.set v1.0", "faces/2", "a.b.c"])
def test_an_id_keeps_its_parts_whatever_points_are_in_them(name):
    id = MeasurementId.of("claim", claim="T6", data=name, attack="pgd", scale="", reading="R1")
    assert id == f"claim.T6.{name}.pgd.R1" and (id.kind, id.data) == ("claim", (name,))
    assert dict(id.parts) == {"claim": "T6", "data": name, "attack": "pgd", "reading": "R1"}
    assert MeasurementId.of("kinks", on=(name, "other")).data == (name, "other")
    assert MeasurementId.of("logic").data == ()


def test_compare_tells_same_different_and_not_comparable():
    shared = {"moved": measured(1.0, 0.9, 1.1), "far": measured(1.0, 0.9, 1.1), "gone": measured(1.0)}
    first = a_record(
        {"same": measured(1.0), "t.mnist": measured(1.0, data=("mnist",)), **shared}, {"mnist": "abc"}
    )
    others = {
        "same": measured(1.0 + 1e-9),
        "moved": measured(1.1, 1.0, 1.2),
        "far": measured(2.0, 1.9, 2.1),
        "t.mnist": measured(1.0, data=("mnist",)),
    }
    second = a_record(others, {"mnist": "xyz"})
    found = {row.id: row for row in compare(first, second)}
    words = {
        "same": "same",
        "moved": "different",
        "far": "different",
        "gone": "not comparable",
        "t.mnist": "not comparable",
    }
    assert {k: row.word for k, row in found.items()} == words
    assert found["far"].difference == 1.0
    assert (
        found["moved"].expected,
        found["far"].expected,
        found["same"].expected,
        found["gone"].expected,
    ) == (True, False, True, None)


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


def test_other_versions_are_told_and_make_nothing_stale():
    old = a_record(environment={"versions": record.versions() | {"python": "3.99.1", "numpy": "1.0.0"}})
    assert record.stale_because(old, old.sources["notebook"]) == []
    here = ".".join(map(str, sys.version_info[:2]))
    first, second = record.elsewhere(old)
    assert first == f"Python 3.99 there, {here} here" and second.startswith("numpy 1.0 there, ")
    assert record.elsewhere(a_record()) == []


def test_the_digest_of_a_file_s_code_is_the_same_in_every_version_of_python():
    """What a version has and another has not are fields that are empty where the code does not use them."""
    tree = ast.parse("def f(x): return x")
    plain = repr(record._told(tree))
    for node in ast.walk(tree):
        node._fields = (*node._fields, "later", "lacking")
        node.later, node.lacking = [], None
    assert repr(record._told(tree)) == plain
    spec = ast.parse('f"{x:<{width}}"')
    plain = repr(record._told(spec))
    spec.body[0].value.values[0].format_spec.values.append(ast.Constant(""))
    assert repr(record._told(spec)) == plain


def test_files_that_cannot_change_a_number_do_not_count():
    import causalnb.console
    import causalnb.runner  # noqa: F401

    names = record.computing_sources()
    assert "causalnb/statistics.py" in names
    assert not {"causalnb/console.py", "causalnb/runner.py", "causalnb/paths.py"} & set(names)


# A file from elsewhere ------------------------------------------------------------------------------------

FULL = {
    "sections": [record.Section(name="s", seconds=1, cpu_seconds=1, peak_memory=1)],
    "store": [record.Use(digest="d", what="w", made=True, seconds=1, device="cpu", versions={"torch": "2"})],
    "changed": {"eps": 0.2},
    "data": {"mnist": "abc"},
}


def refused(tmp_path, content):
    """The one sentence with which a file of this content is refused."""
    file = tmp_path / "record.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content).replace("Infinity", "1e999"))
    with pytest.raises(UserError) as error:
        record.read(file)
    told = str(error.value)
    assert told.startswith(str(file)) and len(told.splitlines()) == 1 and len(told) < 600
    return told


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The text of a sound record."""
    file = tmp_path_factory.mktemp("good") / "record.json"
    return a_record({"a": KINDS["share"]}, **FULL).write(file).read_text()


@pytest.mark.parametrize("number", [record.SCHEMA + 1, 0, -1, "2", 2.0, True, None, [2], "x" * 10_000])
def test_a_schema_that_nobody_knows_is_refused(tmp_path, good, number):
    told = refused(tmp_path, json.loads(good) | {"schema_version": number})
    assert f"this version of causalnb reads schemas 1 to {record.SCHEMA}: install" in told


TEXTS, NUMBERS, KEYED = [0, None, ["x"], {"a": 1}], ["1", None, True, [1], {}, 1e999], [None, "x", [1]]
WRONG = {
    ("profile",): ["<script>", "", "Laptop", *TEXTS],
    ("chapter",): ["../ace", "a b", "a;b", "$(x)", "", *TEXTS],
    ("device",): ["cpu/../x", "<b>", *TEXTS],
    ("started",): ["", "yesterday", "20261120T101010", *TEXTS],
    ("finished",): ["<b>", "2026-13-01T00:00:00", *TEXTS],
    ("edition",): TEXTS,
    ("commit",): [0, [], {}, True],
    ("threads",): [-1, 2**63, 1.5, *NUMBERS],
    ("seconds",): [-1, 1e11, *NUMBERS],
    ("cpu_seconds",): [-1, *NUMBERS],
    ("peak_memory",): [-1, 2**63, 0.5, *NUMBERS],
    ("seeds",): [0, None, "0", [0.5], ["0"], [True], [2**63], {}],
    ("parameters",): [*KEYED, {"a": {}}, {"a": [[1]]}, {"a": 1e999}, {"a": 2**63}],
    ("changed",): [*KEYED, {"a": {"b": 1}}, {"a": [[]]}, {"a": -1e999}],
    ("data",): [*KEYED, {"a": 1}, {"a": None}],
    ("sources",): [
        *KEYED,
        {"notebook": 1},
        {"/etc/passwd": "d"},
        {"causalnb/../x.py": "d"},
        {"": "d"},
        {"a": "d"},
    ],
    ("environment",): [
        *KEYED,
        {"versions": "2"},
        {"versions": {"torch": 2}},
        {"versions": {}, "accelerator": 1},
    ],
    ("sections",): [*KEYED, {}, [1], [{"name": "s"}]],
    ("store",): [*KEYED, {}, [{"digest": "d"}]],
    ("surprise",): [1],
    ("measurements", "a", "value"): NUMBERS,
    ("measurements", "a", "low"): ["0", True, [], 2.0, 1e999],
    ("measurements", "a", "p"): [-0.1, 1.5, "0", True],
    ("measurements", "a", "draws"): [1, [], True],
    ("measurements", "a", "surprise"): [1],
    ("shared", "0", "what"): TEXTS,
    ("shared", "0", "data"): [1, "mnist", {"a": 1}, [1], [None]],
    ("shared", "0", "section"): TEXTS,
    ("shared", "0", "rows"): [*KEYED, {"T1": 1}],
    ("shared", "0", "surprise"): [1],
    ("shared", "0", "estimate", "level"): [0, 1, 95, "0.95", True],
    ("shared", "0", "estimate", "n"): [-1, 1.5, 2**63, "20", True],
    ("shared", "0", "estimate", "seeds"): [0, "0", ["0"], [0.5], [True]],
    ("shared", "0", "estimate", "method"): TEXTS,
    ("shared", "0", "estimate", "unit"): TEXTS,
}


@pytest.mark.parametrize("place", WRONG, ids=".".join)
def test_a_value_of_another_kind_is_refused_and_its_place_is_told(tmp_path, good, place):
    for wrong in WRONG[place]:
        content = json.loads(good)
        *way, last = place
        inside = content
        for name in way:
            inside = inside[name]
        inside[last] = wrong
        assert last in refused(tmp_path, content) or place[0] in ("measurements", "shared"), wrong


@pytest.mark.parametrize(
    "content",
    ["", "{", "[" * 100_000, "1" * 10_000, "NaN", '"\\ud800"', "null", "\x00", '{"schema_version": NaN}'],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_json_of_a_record_is_refused_in_a_sentence(tmp_path, content):
    refused(tmp_path, content)


def test_not_a_number_does_not_come_in_under_any_name(tmp_path, good):
    for name in ("value", "low", "level", "seconds", "eps"):
        spoilt = good.replace(f'"{name}": ', f'"{name}": NaN, "was": ', 1)
        assert spoilt != good
        refused(tmp_path, spoilt)


def test_an_estimate_that_is_none_is_refused_when_it_is_measured_and_not_at_the_end_of_the_run():
    for one in (
        Estimate(math.nan),
        Estimate(1.0, -math.inf, 2.0),
        Estimate(1.0, 2.0, 0.0),
        Estimate(1.0, 0.0, None),
        Estimate(1.0, level=95),
        Estimate(1.0, p=-1.0),
        Estimate(1.0, n=-1),
    ):
        with pytest.raises(ValueError, match=r"finite|two ends|shares|count"):
            Measurement(estimate=one)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_value_anywhere_is_refused_in_a_sentence_or_comes_back_as_it_was_given(
    tmp_path_factory, good, data
):
    folder = tmp_path_factory.getbasetemp()
    content, wrong = json.loads(good), data.draw(JSON)
    inside, key = content, data.draw(st.sampled_from(list(content)))
    while isinstance(inside[key], dict) and inside[key] and data.draw(st.booleans()):
        inside, key = inside[key], data.draw(st.sampled_from(list(inside[key])))
    inside[key] = wrong
    (folder / "record.json").write_text(json.dumps(content))
    try:
        read = record.read(folder)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    else:
        if inside is content and key not in ("measurements", "shared"):
            assert read.model_dump(mode="json")[key] == wrong


# The disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def open_place():
    """A folder that everyone may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def sentence_without_rights(do):
    """What `do` tells when it is refused, done by a forked child that gives up root's rights."""
    context = multiprocessing.get_context("fork")
    out, into = context.Pipe(duplex=False)

    def child():
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            do()
            into.send("done")
        except UserError as error:
            into.send(str(error))
        except BaseException as error:
            into.send(repr(error))

    process = context.Process(target=child)
    process.start()
    told = out.recv() if out.poll(60) else "nothing"
    process.join()
    return told


def test_a_record_that_may_not_be_read_or_written_is_a_sentence(open_place):
    closed = open_place / "closed"
    one = a_record()
    one.write(closed / "record.json").chmod(0)
    told = sentence_without_rights(lambda: record.read(closed))
    assert told == (
        f"{closed / 'record.json'} cannot be read ({os.strerror(errno.EACCES)}): choose a place that you may use, or "
        "change its rights."
    )
    told = sentence_without_rights(lambda: one.write(closed / "record.json"))
    assert "cannot be written" in told and "change its rights" in told
    closed.chmod(0)
    assert "cannot be read" in sentence_without_rights(lambda: record.read(closed))


def test_a_full_disk_is_a_sentence_and_the_record_that_was_there_stays(open_place):
    file = a_record().write(open_place / "record.json")
    before = file.read_bytes()
    large = a_record({f"m{i}": measured(i) for i in range(100)})

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), len(before)))
        large.write(file)

    assert "cannot be written (File too large): free space there" in sentence_without_rights(write)
    assert file.read_bytes() == before and [one.name for one in open_place.iterdir()] == ["record.json"]


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="runs cannot be written"):
        a_record().write(tmp_path / "runs" / "record.json")
    with pytest.raises(UserError, match=r"runs/record.json cannot be read \(Not a directory\)"):
        record.read(tmp_path / "runs" / "record.json")
    (tmp_path / "odd" / "record.json").mkdir(parents=True)
    with pytest.raises(UserError, match=r"record.json cannot be read \(Is a directory\)"):
        record.read(tmp_path / "odd")
