import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from causalnb import UserError, models, store

few = settings(max_examples=60, deadline=None, derandomize=True)
SHAPE = {"classes": 3, "channels": 1, "size": 12}
IMAGES = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def weights():
    return models.lenet(**SHAPE, seed=5).state_dict()


def saved(tmp_path, tensors):
    save_file(tensors, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_every_name_is_built_for_the_data_from_the_seed(name):
    narrow = {"width": 0.125} if name == "vgg16_cifar" else {}
    first, again, other = (
        models.build(name, classes=3, channels=2, size=32, seed=seed, **narrow) for seed in (1, 1, 2)
    )
    assert first.eval()(torch.rand(2, 2, 32, 32)).shape == (2, 3)
    values = [next(model.parameters()) for model in (first, again, other)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "torchvision:mobilenet_v3_small"])
def test_torchvisions_networks_are_built_by_their_names_from_the_seed(name):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again = (
        models.build(name, classes=3, channels=3, size=32, seed=1).classifier[3].weight for _ in range(2)
    )
    assert first.shape[0] == 3 and torch.equal(first, again) and torch.equal(torch.rand(1), expected)


def test_our_own_name_is_ours_and_the_prefix_makes_it_torchvisions():
    ours, theirs = (
        models.build(name, classes=3, channels=3, size=32).conv1.kernel_size
        for name in ("resnet18", "torchvision:resnet18")
    )
    assert (ours, theirs) == ((3, 3), (7, 7))


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (
            "resnet21",
            {},
            r"resnet21 is no network known here \(did you mean resnet20\?\): give one of lenet, small_cnn, "
            r".*, or a classification model of torch",
        ),
        ("torchvision:mobilenet_v3_smal", {}, r"\(did you mean mobilenet_v3_small\?\)"),
        ("fasterrcnn_resnet50_fpn", {}, "is no network known here"),
        ("resnet20", {"width": 2}, "width is no option of resnet20: it has none"),
        ("vgg16_cifar", {"wide": 2}, "wide is no option of vgg16_cifar: it has width, last"),
        (
            "torchvision:resnet18",
            {"wide": 2},
            r"torchvision:resnet18 cannot be built with {'wide': 2}: .*unexpected keyword argument 'wide'",
        ),
    ],
)
def test_an_unknown_name_or_option_is_refused_in_a_sentence(name, options, sentence):
    with pytest.raises(UserError, match=sentence):
        models.build(name, classes=3, channels=3, size=32, **options)


def test_torchvisions_networks_take_colour_images_only():
    with pytest.raises(UserError, match="mobilenet_v3_small takes images of 3 channels, not of 1: choose"):
        models.build("mobilenet_v3_small", classes=3, channels=1, size=32)


def test_normalisation_is_per_channel_and_no_part_of_the_weights():
    model = models.Normalised(torch.nn.Identity(), [0.0, 0.5], [1.0, 0.25])
    assert torch.equal(model(torch.full((1, 2, 1, 1), 0.75)).flatten(), torch.tensor([0.75, 1.0]))
    assert model.state_dict() == {} and model.double().mean.dtype == torch.float64


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.2, 0.2]), ([0.5], [0.0]), ([0.5], [float("nan")])])
def test_a_normalisation_that_is_none_is_refused(mean, std):
    with pytest.raises(UserError, match="give each one number per channel, std above 0"):
        models.Normalised(torch.nn.Identity(), mean, std)


@pytest.mark.parametrize("prefix", ["", "weights.", "model.", "module.", "module.model."])
def test_weights_are_loaded_under_their_names_or_a_common_prefix(tmp_path, weights, prefix):
    beside = {"curve": torch.zeros(3)} if prefix == "weights." else {}
    path = saved(tmp_path, {prefix + name: values for name, values in weights.items()} | beside)
    model = models.load(path, "lenet", **SHAPE)
    assert not model.training and torch.equal(model(IMAGES), models.lenet(**SHAPE, seed=5)(IMAGES))


def test_half_precision_becomes_float32(tmp_path, weights):
    model = models.load(
        saved(tmp_path, {name: values.half() for name, values in weights.items()}), "lenet", **SHAPE
    )
    assert all(
        torch.equal(values, weights[name].half().float()) and values.dtype == torch.float32
        for name, values in model.state_dict().items()
    )


def test_a_loaded_model_normalises_where_mean_and_std_are_given(tmp_path, weights):
    model = models.load(str(saved(tmp_path, weights)), "lenet", **SHAPE, mean=[0.5], std=[0.25])
    assert (
        torch.equal(model(IMAGES), models.lenet(**SHAPE, seed=5)((IMAGES - 0.5) / 0.25))
        and not model.model.training
    )
    for scale in ({"mean": [0.5]}, {"mean": [0.5] * 3, "std": [0.5] * 3}):
        with pytest.raises(
            UserError, match="do not fit images of 1 channels: give both, one number per channel, or none"
        ):
            models.load(tmp_path / "weights.safetensors", "lenet", **SHAPE, **scale)


def test_batch_norms_counters_may_be_missing(tmp_path):
    bare = {
        name: values
        for name, values in models.resnet20(seed=5).state_dict().items()
        if "num_batches" not in name
    }
    images = torch.rand(1, 3, 8, 8)
    loaded = models.load(saved(tmp_path, bare), "resnet20", classes=10, channels=3, size=8)
    assert torch.equal(loaded(images), models.resnet20(seed=5).eval()(images))


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        (lambda tensors: tensors.pop("fc1.bias"), r"the tensor fc1.bias is missing \(.*and 5 more\)"),
        (lambda tensors: tensors.update({"fc4.bias": torch.zeros(1)}), "the tensor fc4.bias is too many"),
        (
            lambda tensors: tensors.update({"fc3.bias": torch.zeros(2)}),
            r"the tensor fc3.bias has the shape \[2\], not \[3\]",
        ),
        (lambda tensors: tensors.clear(), r"the tensor conv1.weight is missing \(the file holds none\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_a_sentence(tmp_path, weights, change, misfit):
    change(weights)
    with pytest.raises(
        UserError,
        match=f"weights.safetensors does not fit lenet with 3 classes, 1 channels and size 12: {misfit}; "
        "give the architecture",
    ):
        models.load(saved(tmp_path, weights), "lenet", **SHAPE)


def test_a_file_that_is_absent_or_damaged_is_refused_in_a_sentence(tmp_path, weights):
    path = tmp_path / "one.safetensors"
    with pytest.raises(
        UserError,
        match=r"one.safetensors cannot be read \(there is no such file\): give the path of a safetensors file",
    ):
        models.load(path, "lenet", **SHAPE)
    path.write_bytes(b"pickled")
    with pytest.raises(UserError, match="one.safetensors is damaged or no safetensors file"):
        models.load(path, "lenet", **SHAPE)
    with pytest.raises(UserError, match=r"cannot be read|is damaged or no safetensors file"):
        models.load(tmp_path, "lenet", **SHAPE)


def test_an_entry_of_the_store_must_still_bear_its_seal(tmp_path, weights):
    path = tmp_path / "entry.safetensors"
    store.write(
        path,
        {f"weights.{name}": values for name, values in weights.items()} | {"curve": torch.ones(2)},
        {"what": "weights"},
    )
    assert torch.equal(models.load(path, "lenet", **SHAPE)(IMAGES), models.lenet(**SHAPE, seed=5)(IMAGES))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        UserError,
        match=r"entry.safetensors is damaged \(it does not match its checksum\): fetch or write it again",
    ):
        models.load(path, "lenet", **SHAPE)


# Numbers of another scale or kind -------------------------------------------------------------------------


@few
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=3),
    st.sampled_from([1.0, 255.0, 256.0, 65535.0]),
    st.booleans(),
)
def test_a_normalisation_of_pixels_from_0_to_1_is_taken_and_of_another_scale_refused(pairs, scale, both):
    mean, std = [m * scale for m, _ in pairs], [s * (scale if both else 1) for _, s in pairs]
    if all(0 <= number <= 1 for number in (*mean, *std)):
        images = torch.full((1, len(mean), 1, 1), 0.25)
        expected = torch.tensor([(0.25 - m) / s for m, s in zip(mean, std, strict=True)])
        found = models.Normalised(torch.nn.Flatten(), mean, std)(images)[0]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    else:
        with pytest.raises(UserError, match=r"are not those of images in \[0, 1\]: .* divided by 255\.$"):
            models.Normalised(torch.nn.Flatten(), mean, std)


def test_the_mean_and_std_of_fashion_from_0_to_255_are_refused(tmp_path, weights):
    with pytest.raises(UserError, match=r"mean = \[72.9\] and std = \[90.0\] are not those of images in"):
        models.load(saved(tmp_path, weights), "lenet", **SHAPE, mean=[72.9], std=[90.0])


def test_several_means_do_not_make_channels_of_one():
    with pytest.raises(RuntimeError, match="expand"):
        models.Normalised(torch.nn.Flatten(), [0.5] * 3, [0.5] * 3)(torch.rand(2, 1, 4, 4))


KINDS = {
    torch.float16: True,
    torch.bfloat16: True,
    torch.float32: True,
    torch.float64: True,
    torch.float8_e4m3fn: False,
    torch.int8: False,
    torch.uint8: False,
    torch.int64: False,
    torch.bool: False,
    torch.complex64: False,
}


@few
@given(
    st.sampled_from(list(KINDS)),
    st.sampled_from(["conv1.weight", "fc3.bias"]),
    st.sampled_from([0.25, float("nan"), float("inf"), 1e300]),
)
def test_a_tensor_of_another_kind_or_without_a_number_is_refused_and_another_precision_taken(
    kind, name, value
):
    given_ = models.lenet(**SHAPE, seed=5).state_dict()
    given_[name] = torch.full_like(given_[name], value, dtype=torch.float64)
    given_[name] = (given_[name].nan_to_num(1, 1, 1) if not kind.is_floating_point else given_[name]).to(kind)
    with tempfile.TemporaryDirectory() as folder:
        file = saved(Path(folder), given_)
        if KINDS[kind] and given_[name].float().isfinite().all():
            assert torch.equal(models.load(file, "lenet", **SHAPE).state_dict()[name], given_[name].float())
        else:
            said = "that are not finite in torch.float32" if KINDS[kind] else f"{kind}, not torch.float32"
            with pytest.raises(UserError, match=f"does not fit lenet .*the tensor {name} holds .*{said}"):
                models.load(file, "lenet", **SHAPE)


@pytest.mark.parametrize("kind", [torch.float32, torch.bool, torch.complex64])
def test_a_counter_of_a_batch_norm_is_a_whole_number(tmp_path, kind):
    given_ = models.resnet20(seed=5).state_dict()
    name = next(name for name in given_ if name.endswith("num_batches_tracked"))
    given_[name] = given_[name].to(kind)
    with pytest.raises(UserError, match=f"the tensor {name} holds {kind}, not torch.int64"):
        models.load(saved(tmp_path, given_), "resnet20", classes=10, channels=3, size=8)


# Public checkpoints ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", ["", "state_dict", "model"])
@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_of_torch_s_is_told_apart_and_the_two_lines_of_the_sentence_convert_it(
    tmp_path, weights, nested, old, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    held = {nested: weights, "epoch": 3, "optimizer": {"lr": 0.1}} if nested else weights
    torch.save(held, "mine.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(UserError, match=r"^mine.pt is torch's pickle, .* give mine.safetensors\.\n") as said:
        models.load("mine.pt", "lenet", **SHAPE)
    first, *lines = str(said.value).splitlines()
    assert len(lines) == 2
    exec("\n".join(lines), {})
    assert torch.equal(
        models.load("mine.safetensors", "lenet", **SHAPE)(IMAGES), models.lenet(**SHAPE, seed=5)(IMAGES)
    )


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path, weights):
    for more in range(700):
        path = tmp_path / "w.safetensors"
        save_file(weights, path, metadata={"x": "y" * more})
        if path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04"):
            break
    assert path.read_bytes()[:1] == b"\x80"
    models.load(path, "lenet", **SHAPE)


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "net.",
        "backbone.body.",
        "module._orig_mod.",
        "_orig_mod.module.model.",
        "model.net.module.",
    ],
)
def test_any_common_prefix_is_taken_off_in_any_order(tmp_path, weights, prefix):
    path = saved(tmp_path, {prefix + name: values for name, values in weights.items()})
    assert torch.equal(models.load(path, "lenet", **SHAPE)(IMAGES), models.lenet(**SHAPE, seed=5)(IMAGES))


def test_a_wrapper_inside_a_name_is_taken_off(tmp_path, weights):
    inner = {name.replace(".", ".module._orig_mod."): values for name, values in weights.items()}
    models.load(saved(tmp_path, inner), "lenet", **SHAPE)


def test_weights_that_stand_there_twice_are_not_chosen_between(tmp_path, weights):
    twice = {f"{of}.{name}": values.clone() for of in ("model", "ema") for name, values in weights.items()}
    with pytest.raises(
        UserError, match="holds the network's tensors more than once, under '(model|ema).' and"
    ):
        models.load(saved(tmp_path, twice), "lenet", **SHAPE)


def test_a_missing_tensor_s_sentence_shows_names_that_the_file_does_hold(tmp_path):
    other = {f"features.{k}.weight": torch.zeros(1) for k in range(6)}
    with pytest.raises(UserError) as said:
        models.load(saved(tmp_path, other), "lenet", **SHAPE)
    assert "the tensor conv1.weight is missing (the file holds features.0.weight, features.1" in str(
        said.value
    )
    assert "and 2 more)" in str(said.value)


def test_outputs_of_a_network_of_more_classes_stand_for_the_set_s(tmp_path):
    whole = models.lenet(classes=7, channels=1, size=12, seed=5)
    path = saved(tmp_path, {f"module.{name}": values for name, values in whole.state_dict().items()})
    with pytest.raises(UserError, match=r"these weights tell 7 classes apart, so give `classes` \(3 numbers"):
        models.load(path, "lenet", **SHAPE)
    net = models.load(path, "lenet", **{**SHAPE, "classes": [6, 0, 2]})
    assert torch.equal(net(IMAGES), whole(IMAGES)[:, [6, 0, 2]])
    for wrong in ([0, 1, 7], [1, 1, 2], [-1, 0, 1]):
        with pytest.raises(
            UserError, match=r"tells 7 classes apart, so give one number from 0 to 6 for each"
        ):
            models.load(path, "lenet", **{**SHAPE, "classes": wrong})


def test_a_network_too_large_for_the_images_is_refused_before_its_weights_are_compared(tmp_path):
    with pytest.raises(UserError, match=r"^alexnet cannot take images of 3 x 32 x 32 \(.*\): choose an arch"):
        models.load(saved(tmp_path, {}), "alexnet", classes=10, channels=3, size=32)
