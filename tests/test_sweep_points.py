import pytest

from causalnb import UserError, sweep
from causalnb.sweep import points


def test_lists_and_ranges_are_values_and_their_product_is_the_points():
    values = {"eps": sweep.listed("eps", "0.1,8/255"), "seed": sweep.listed("seed", "0:2")}
    assert sweep.product(values) == [
        {"eps": "0.1", "seed": "0"},
        {"eps": "0.1", "seed": "1"},
        {"eps": "8/255", "seed": "0"},
        {"eps": "8/255", "seed": "1"},
    ]


@pytest.mark.parametrize("text", ["cuda:1", "-1:3", "0:", "1.5:3"])
def test_what_is_no_range_of_whole_numbers_is_one_value(text):
    assert list(sweep.listed("device", text)) == [text]


def test_a_comma_inside_a_value_is_escaped_as_everywhere():
    assert list(sweep.listed("data", r"digits,a\,b")) == ["digits", r"a\,b"]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("0.1,,0.2", "leave none empty"),
        ("", "leave none empty"),
        ("5:5", "from FIRST to END - 1"),
        ("0:10000000", "at most 10,000"),
    ],
)
def test_an_empty_value_and_an_empty_or_endless_range_are_refused(text, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        sweep.listed("seed", text)
    assert str(caught.value).startswith(f"seed = {text} is not possible")


def test_more_points_than_anyone_can_mean_are_refused_before_they_are_made():
    with pytest.raises(UserError, match="100,000,000 points are too many: ask for at most 10,000"):
        sweep.product({name: sweep.listed(name, "0:10000") for name in ("seed", "n_images")})


def test_points_of_a_file_are_its_lines_and_what_is_left_empty_is_the_profile_s(tmp_path):
    file = tmp_path / "points.csv"
    file.write_text('eps, data\n0.1,"digits,shapes"\n\n0.2,\n', encoding="utf-8-sig")
    found = sweep.from_file(file)
    assert found == [{"eps": "0.1", "data": "digits,shapes"}, {"eps": "0.2"}]
    assert sweep.product({"seed": ["0", "1"]}, found)[1] == {**found[0], "seed": "1"}
    assert sweep.from_file(points.to_file(found, tmp_path / "again.csv")) == found


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "holds no points"),
        ("eps\n", "holds no points"),
        ("eps,eps\n1,2\n", "each once"),
        ("eps,seed\n0.1\n", "point 1 has 1 values, and 2 parameters are named"),
        ('eps\n"0.1\n', "is no CSV file"),
    ],
)
def test_a_file_that_is_no_list_of_points_is_a_sentence(tmp_path, text, sentence):
    file = tmp_path / "points.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=sentence):
        sweep.from_file(file)


def test_a_file_that_is_not_there_and_a_name_that_is_asked_twice_are_sentences(tmp_path):
    with pytest.raises(UserError, match="none.csv cannot be read"):
        sweep.from_file(tmp_path / "none.csv")
    with pytest.raises(UserError, match="eps is asked in the file of points and by -p"):
        sweep.product({"eps": ["0.1"]}, [{"eps": "0.2"}])


def test_a_point_s_folder_says_what_was_asked_and_no_two_have_one():
    assert points.named({"profile": "quick", "seed": 3, "eps": 0.1}) == "eps=0.1,seed=3"
    assert points.named({"profile": "laptop"}) == "profile=laptop"
    one, other = (points.named({"data": name}) for name in ("/a/b", "/a_b"))
    assert one != other and "/" not in one + other
    assert len(points.named({"data": "x" * 500})) < 120
