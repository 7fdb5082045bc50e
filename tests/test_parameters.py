import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalnb import UserError
from causalnb.parameters import Parameters, allowed, cell, parameter, table


class Example(Parameters):
    profiles = {
        "quick": {"eps": 0.3, "n_images": 20, "data": "digits"},
        "laptop": {"eps": 0.3, "n_images": 300, "data": "mnist"},
        "gpu": {},
        "full": {},
    }
    eps: float = parameter(None, "the attack budget", unit="pixel units", ge=0, le=1)


def test_none_takes_the_profile_s_value():
    assert Example.resolve({}).n_images == 20
    assert Example.resolve({"profile": "laptop"}).n_images == 300
    assert Example.resolve({"profile": "laptop", "n_images": 7}).n_images == 7


def test_an_unknown_name_is_one_sentence_that_names_it_and_what_is_known():
    with pytest.raises(
        UserError,
        match=r"^epss is not a parameter of this chapter; did you mean eps\? Known are profile, .*eps\.$",
    ):
        Example.resolve({"epss": 0.2})


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"eps": -1}, "eps = -1 is not possible: the attack budget is a number from 0 to 1 (pixel units)."),
        (
            {"n_images": 0},
            "n_images = 0 is not possible: test images drawn, balanced over the classes is a whole number "
            "from 1 to 10000.",
        ),
        (
            {"profile": "desk"},
            "profile = 'desk' is not possible: size of the run: embedded data, a laptop, a GPU, or the "
            "paper's own sizes "
            "is one of quick, laptop, gpu, full.",
        ),
        (
            {"device": "tpu9"},
            "device = 'tpu9' is not possible: where tensors live (auto, cpu, cuda, cuda:1, mps) is one of "
            "these.",
        ),
    ],
)
def test_an_impossible_value_is_one_sentence_with_what_is_allowed(values, sentence):
    with pytest.raises(UserError) as caught:
        Example.resolve(values)
    assert str(caught.value) == sentence


@given(st.floats(0, 1), st.integers(1, 10_000), st.integers(0, 2**31 - 1))
def test_values_inside_the_bounds_come_back_unchanged(eps, n_images, seed):
    p = Example.resolve({"eps": eps, "n_images": n_images, "seed": seed})
    assert (p.eps, p.n_images, p.seed) == (eps, n_images, seed)


@given(
    st.one_of(
        st.floats(max_value=0, exclude_max=True),
        st.floats(min_value=1, exclude_min=True),
        st.just(float("nan")),
        st.text(),
        st.booleans(),
        st.lists(st.integers()),
    )
)
def test_anything_else_is_refused_with_the_name_in_the_sentence(value):
    with pytest.raises(UserError, match="^eps = "):
        Example.resolve({"eps": value})


@given(st.text(min_size=1).filter(lambda name: name not in Example.model_fields))
def test_no_unknown_name_passes(name):
    with pytest.raises(UserError, match="is not a parameter"):
        Example.resolve({name: 1})


def test_resolving_twice_changes_nothing():
    once = Example.resolve({"profile": "laptop"})
    assert Example.resolve(once.model_dump()) == once


def test_the_cell_and_the_table_list_every_field():
    assert [line.split(":")[0] for line in cell(Example).splitlines()] == list(Example.model_fields)
    assert [row[0] for row in table(Example)] == list(Example.model_fields)
    assert (
        "eps: float = None  # the attack budget; a number from 0 to 1 (pixel units); None: quick 0.3; laptop "
        "0.3" in cell(Example)
    )


def test_data_is_a_list_of_names():
    assert Example.resolve({"data": "mnist, fashion_mnist"}).sets == ("mnist", "fashion_mnist")
    assert allowed(Example.model_fields["seed"]) == "a whole number from 0 below 2147483648"
