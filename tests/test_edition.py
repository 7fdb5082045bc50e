import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from causalnb import UserError, __version__
from causalnb.book import changes, crate

ROOT = Path(__file__).parents[1]


def edition(word, rule="r", value=0.3, digest="d", statement="Noise hardly matters"):
    """A judged edition of one chapter with one row."""
    row = {
        "statement": statement,
        "word": word,
        "reason": "",
        "rule": {"id": rule},
        "readings": {"kept.a": value},
    }
    chapter = {"profile": "laptop", "data": {"digits": digest}, "rows": {"T1": row}}
    return {"edition": "1", "chapters": {"toy": chapter}}


@pytest.mark.parametrize(
    "other, why",
    [
        ({"rule": "s"}, "rule"),
        ({"value": 0.2}, "number"),
        ({"digest": "e", "value": 0.2}, "data and the number"),
        ({}, "code that judges"),
    ],
)
def test_a_changed_verdict_says_its_cause(other, why):
    before, now = edition("reproduced"), edition("undecided", **other)
    told = changes.markdown(before, {**now, "edition": "2"})
    assert told.startswith("# Verdicts from 1 to 2\n")
    assert f"- **reproduced → undecided**, 1 row, because of the {why}:\n  - `T1` Noise hardly" in told
    assert ("kept.a: 0.3 → 0.2" in told) == ("value" in other)


def test_rows_and_chapters_that_come_and_go_are_counted():
    before, now = edition("reproduced"), edition("reproduced")
    now["chapters"]["new"] = now["chapters"]["toy"]
    before["chapters"]["old"] = before["chapters"]["toy"]
    told = changes.markdown(before, now)
    assert "New, with 1 rows." in told and "Gone: old." in told and "0 changed their verdict" in told


def test_an_edition_that_is_not_in_the_history_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="No such edition is in the history"):
        changes.at(tmp_path, "0.0.1")


def test_an_edition_is_judged_from_its_own_commit(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments], cwd=tmp_path, check=True
        )

    for folder in ("causalnb", "book/published", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "kept").touch()
    (tmp_path / "_toc.yml").touch()
    for number in ("1.0", "2.0"):  # each judges in its own way
        (tmp_path / "causalnb" / "__init__.py").write_text(f'__version__ = "{number}"\n')
        (tmp_path / "causalnb" / "ledger.py").touch()
        (tmp_path / "causalnb" / "record.py").touch()
        if number == "1.0":
            git("init", "-q")
        git("add", "-A")
        git("commit", "-qm", number)
    assert changes.at(tmp_path, "1.0") == {"edition": "1.0", "chapters": {}}
    assert changes.at(tmp_path, "HEAD")["edition"] == "2.0"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """An edition that is rendered and published, in a folder of its own."""
    for name in ("README.md", "CITATION.cff", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for name in (
        "_build/html/index.html",
        "book/published/ace/laptop-cpu/record.json",
        "weights/a.safetensors",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"this is {name}")
    monkeypatch.setattr(changes, "judged", lambda root: edition("reproduced"))
    return tmp_path


def test_the_crate_is_read_back_by_rocrate(small):
    rocrate = pytest.importorskip("rocrate.rocrate", reason="no crate is read back: rocrate is not installed")
    file = crate.write(small, small / "out.zip")
    read = rocrate.ROCrate(file)
    assert read.root_dataset["version"] == __version__ and "a book that runs" in read.name
    assert "_build/html/" in {one.id for one in read.data_entities}
    assert read.get("verdicts.json")["description"].startswith("every ledger row")
    with zipfile.ZipFile(file) as packed:
        names = set(packed.namelist())
        assert (
            json.loads(packed.read("verdicts.json"))["chapters"]["toy"]["rows"]["T1"]["word"] == "reproduced"
        )
        assert json.loads(packed.read("data.json")) == {"toy": {"digits": "d"}}
    assert {"ro-crate-metadata.json", "_build/html/index.html", "weights/a.safetensors"} <= names
    assert "book/published/ace/laptop-cpu/record.json" in names


def test_without_a_site_there_is_no_crate(tmp_path):
    pytest.importorskip("rocrate")
    with pytest.raises(UserError, match="No site is in _build/html"):
        crate.write(tmp_path, tmp_path / "out.zip")


def test_the_citation_names_this_version_and_what_its_format_asks_for():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= cited.keys() and cited["cff-version"] == "1.2.0"
    assert str(cited["version"]) == __version__ and cited["type"] in ("software", "dataset")
    assert all(one.keys() & {"name", "family-names"} for one in cited["authors"])
    assert re.fullmatch(r"[A-Za-z0-9.-]+", " ".join(cited["license"]).replace(" ", ""))


@pytest.mark.parametrize(
    "command",
    [
        "check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/book.yml",
        "hadolint Containerfile",
        "cffconvert --validate -i CITATION.cff",
    ],
)
def test_a_tool_that_is_at_hand_finds_no_fault(command):
    name, *arguments = command.split()
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not on the path")
    done = subprocess.run([name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
