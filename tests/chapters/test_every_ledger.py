"""What every chapter's ledger keeps to, whatever its paper."""

import re
from importlib.resources import files

import pytest
import yaml

from causalnb import ledger

FILES = {
    folder.name: folder / "ledger.yaml"
    for folder in sorted((files("causalnb") / "chapters").iterdir(), key=lambda folder: folder.name)
    if (folder / "ledger.yaml").is_file()
}
IN_FAMILIES = ("ace", "alignment")  # their controls are placebos and twins, at the level of their claims
NAMED_OTHERWISE = ("ours.shapes",)  # rows whose data their patterns do not name
each_chapter = pytest.mark.parametrize("chapter", FILES)


def test_every_chapter_has_one():
    assert len(FILES) == 6


@each_chapter
def test_no_line_of_the_file_repeats_a_key(chapter):
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        assert len(keys) == len(set(keys)), keys
        loader.flatten_mapping(node)
        return loader.construct_mapping(node)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    yaml.load(FILES[chapter].read_text(encoding="utf-8"), Strict)


@each_chapter
def test_controls_are_ours_and_in_no_count(chapter):
    controls = [row for row in ledger.load(chapter).rows if row.kind == "control"]
    assert controls and all(row.ours for row in controls)
    assert chapter in IN_FAMILIES or not any(row.family for row in controls)


@pytest.mark.parametrize("chapter", [chapter for chapter in FILES if chapter != "ace"])  # it has its own
def test_patterns_name_the_data_that_decides_so_that_a_stand_in_can_be_put_for_it(chapter):
    for row in ledger.load(chapter).rows:
        for pattern in row.decided_by.measurements:
            assert re.fullmatch(r"[\w-]+(\.([\w-]+\*?|\*))*", pattern), (row.id, pattern)
            if row.decided_by.data and row.id not in NAMED_OTHERWISE:
                assert f".{row.decided_by.data}" in pattern, (row.id, pattern)
