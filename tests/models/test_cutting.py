import copy
import pickle
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalnb import UserError, models
from causalnb.vision import import_torchvision

OURS = {
    "lenet": (1, 28),
    "small_cnn": (1, 16),
    "cnn37": (1, 8),
    "gap_cnn": (1, 8),
    "resnet20": (3, 8),
    "resnet18": (3, 4),
    "vgg16_cifar": (3, 32),
}
THEIRS = {
    "torchvision:resnet18": "layer2.0",
    "densenet121": "features.transition1.norm",
    "efficientnet_v2_s": "features.2.0.block.0.0",
    "mobilenet_v3_small": "features.1.block.1",
}


class Net(nn.Module):
    """Two convolutions and a linear layer on images [n, 1, 6, 6]; how they are put together is
    `forward_of`'s.
    """

    def __init__(self, forward_of):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(16, 3)
        self.relu, self.lstm, self.blocks = (
            nn.ReLU(inplace=True),
            nn.LSTM(4, 4),
            nn.ModuleList([nn.Identity(), nn.Identity()]),
        )
        self.register_buffer("scale", torch.tensor([2.0]))
        self.forward_of = forward_of

    def forward(self, images, halved=False):
        return self.forward_of(self, images / 2 if halved else images)


def logits(net, features):
    return net.fc(features.flatten(1))


def images_of(channels, size, n=2, dtype=torch.float64):
    return torch.rand(n, channels, size, size, dtype=dtype, generator=torch.Generator().manual_seed(1))


def exact(model, layer, images):
    """Whether both halves give the model's logits, bit for bit, twice, and leave the features as they are."""
    head, tail = models.cut(model, layer)
    with torch.no_grad():
        features, wanted = head(images), model(images)
        kept = features.clone()
        return (
            torch.equal(tail(features), wanted)
            and torch.equal(tail(features), wanted)
            and torch.equal(features, kept)
        )


def refusal(model, layer):
    with pytest.raises(UserError) as refused:
        models.cut(model, layer)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float64) for name in OURS), ("cnn37", torch.float32), ("resnet20", torch.float32)],
)
def test_both_halves_are_the_network_bit_for_bit_at_their_layers(name, dtype):
    channels, size = OURS[name]
    model = (
        models.build(
            name,
            classes=5,
            channels=channels,
            size=size,
            seed=3,
            **({"width": 0.125} if name == "vgg16_cifar" else {}),
        )
        .to(dtype)
        .eval()
    )
    images, found = images_of(channels, size, dtype=dtype), models.layers(model)
    some = found[::3] if name.startswith("resnet") else found  # blocks that are all alike
    assert [layer for layer in some if not exact(model, layer, images)] == []


@pytest.mark.parametrize(("name", "inner"), THEIRS.items())
def test_torchvisions_networks_are_cut_too(name, inner):
    model = models.build(name, classes=5, channels=3, size=32).double().eval()
    assert inner in models.layers(model)
    assert exact(model, inner, images_of(3, 32))


def test_features_are_the_output_of_the_layer():
    model, images, seen = models.resnet20().eval(), images_of(3, 16, dtype=torch.float32), []
    model.stage2[0].register_forward_hook(lambda module, given, output: seen.append(output))
    model(images)
    assert torch.equal(models.cut(model, "stage2.0").head(images), seen[0])


def test_memory_order_goes_through_the_cut():
    model, images = (
        models.resnet20().eval(),
        images_of(3, 16, dtype=torch.float32).to(memory_format=torch.channels_last),
    )
    assert models.cut(model, "stage1").head(images).is_contiguous(memory_format=torch.channels_last)
    assert exact(model, "stage1", images)


def test_layers_are_those_past_which_nothing_flows():
    blocks = [
        f"stage{i}{rest}"
        for i in (1, 2, 3)
        for rest in ("", *(f".{j}{relu}" for j in range(3) for relu in ("", ".relu2")))
    ]
    assert models.layers(models.resnet20()) == ["conv1", "bn1", "relu1", *blocks, "gap", "flat", "fc"]


def test_halves_share_weights_device_and_mode_with_the_model():
    model = models.Normalised(models.small_cnn(seed=1), [0.5], [0.2])
    images = images_of(1, 28)
    head, tail = models.cut(model, "model.pool1")
    model.double()
    with torch.no_grad():
        model.model.conv1.weight.mul_(2)
        model.model.fc3.weight.normal_()
    for training in (True, False):
        model.train(training)
        torch.manual_seed(4)
        wanted = model(images)
        torch.manual_seed(4)
        assert torch.equal(tail(head(images)), wanted)
    tail(head(images)).sum().backward()
    assert all(value.grad is not None for value in model.parameters())


@pytest.mark.parametrize("half", [0, 1])
def test_a_buffer_that_is_replaced_as_a_move_does_is_seen(half):
    net = Net(lambda self, x: logits(self, self.conv2(self.conv1(x * self.scale[0]))) * self.scale[:, None])
    cut, images = models.cut(net, "conv1"), images_of(1, 6, dtype=torch.float32)
    given = (images, cut.head(images))[half]
    before = cut[half](given)
    net.scale = torch.tensor([3.0])
    assert not torch.equal(cut[half](given), before) and torch.equal(cut.tail(cut.head(images)), net(images))


def test_gradients_of_features_pass_in_place_layers():
    net = Net(lambda self, x: logits(self, self.conv2(self.relu(self.conv1(x)))))
    head, tail = models.cut(net, "conv1")
    features = head(images_of(1, 6, dtype=torch.float32)).detach().requires_grad_()
    tail(features).sum().backward()
    assert torch.equal(features.grad == 0, features <= 0)


def test_a_forward_pass_that_reads_its_mode_is_cut_in_both():
    net = Net(
        lambda self, x: logits(
            self, self.conv2(nn.functional.dropout(self.conv1(x), 0.5, training=self.training))
        )
    )
    head, tail = models.cut(net.eval(), "conv1")
    images, answers = images_of(1, 6, dtype=torch.float32), []
    for training in (False, True, False):
        net.train(training)
        torch.manual_seed(2)
        wanted = net(images)
        torch.manual_seed(2)
        answers.append(tail(head(images)))
        assert torch.equal(answers[-1], wanted)
    assert torch.equal(answers[0], answers[2]) and not torch.equal(answers[0], answers[1])


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.fc(self.conv2(self.conv1(x)).view(x.size(0), -1)),
        lambda self, x: self.fc(self.conv2(self.conv1(x)).reshape(x.shape[0], 16)),
        lambda self, x: (lambda n: self.fc(self.conv2(self.conv1(x)).reshape(n, 16)))(x.size()[0]),
        lambda self, x: (lambda h: self.fc(h.reshape(h.size(0), h.size(1) * h.size(2) * h.size(3))))(
            self.conv2(self.conv1(x))
        ),
        lambda self, x: logits(self, self.conv2(nn.functional.relu_(self.conv1(x)))),
        lambda self, x: (lambda h: (h.relu_(), logits(self, self.conv2(h)))[1])(self.conv1(x)),
        lambda self, x: self.conv1.weight.size(0) * logits(self, self.conv2(self.conv1(x))),
        lambda self, x: logits(self, self.conv2(self.conv1(x) * self.scale) * self.scale[0]),
    ],
    ids=[
        "size(0)",
        "shape[0]",
        "size()[0]",
        "sizes of the features",
        "relu_",
        "relu_ without its result",
        "size of a weight",
        "buffer on both sides",
    ],
)
def test_a_users_forward_pass_is_cut_exactly(forward):
    for layer in ("conv1", "conv2"):
        assert exact(Net(forward), layer, images_of(1, 6, n=5, dtype=torch.float32)), layer


def test_hooks_optional_arguments_and_attributes_of_the_model_stay():
    def forward(self, x):
        self.last = self.conv1(x)
        return logits(self, self.conv2(self.last))

    net = Net(forward)
    net.last = 3
    net.register_forward_pre_hook(lambda module, given: (given[0] - 0.5,))
    head, tail = models.cut(net, "conv1")
    assert net.last == 3
    images = images_of(1, 6, dtype=torch.float32)
    assert torch.equal(tail(head(images)), net(images))


def test_the_halves_of_a_copy_and_of_a_pickle_belong_to_the_copy():
    model, images = models.Normalised(models.cnn37(), [0.5], [0.25]), images_of(1, 28, dtype=torch.float32)
    head, _ = models.cut(model, "model.conv2")
    features = head(images)
    for again in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert torch.equal(again(images), features)
        again.model.mean = again.model.mean + 0.1
        assert not torch.equal(again(images), features)
        again.model.model.conv2.weight.data.zero_()
        assert again(images).flatten(2).std(2).max() == 0
    assert torch.equal(head(images), features)


@pytest.mark.parametrize(
    ("name", "layer", "sentence"),
    [
        (
            "torchvision:resnet18",
            "layer1.0.conv1",
            "layer1.0.conv1 cannot be cut: the output of maxpool flows past it; cut at layer1.0 or maxpool.",
        ),
        (
            "torchvision:resnet18",
            "layer1.0.relu",
            "layer1.0.relu cannot be cut: the forward pass calls it 2 times; cut at layer1.0 or maxpool.",
        ),
        (
            "resnet20",
            "stage2.1.conv2",
            "stage2.1.conv2 cannot be cut: the output of stage2.0 flows past it; cut at stage2.1 or stage2.0.",
        ),
        (
            "resnet20",
            "conv2",
            "conv2 is no layer of this model: did you mean conv1? `causalnb.models.layers` lists those at "
            "which it can be cut.",
        ),
        (
            "resnet20",
            "",
            "The whole model is no layer of this model. `causalnb.models.layers` lists those at which it can "
            "be cut.",
        ),
    ],
)
def test_a_refusal_says_why_and_where_instead(name, layer, sentence):
    assert refusal(models.build(name, classes=2, channels=3, size=32), layer) == sentence


def branch(self, x):
    hidden = self.conv1(x)
    if hidden.sum() > 0:
        hidden = -hidden
    return logits(self, self.conv2(hidden))


@pytest.mark.parametrize(
    ("forward", "layer", "sentence"),
    [
        (
            lambda self, x: logits(self, self.conv2(self.conv1(x))) + x.mean((1, 2, 3))[:, None],
            "conv2",
            "conv2 cannot be cut: the images flow past it; no other layer of this model can be cut either.",
        ),
        (
            lambda self, x: self.fc(self.conv1(x)[:, :, 0].flatten(1) * x.size(2)),
            "conv1",
            "conv1 cannot be cut: the output of the step size flows past it; cut at fc.",
        ),
        (
            lambda self, x: logits(self, self.conv2(self.blocks[0](self.conv1(x)))),
            "blocks",
            "blocks cannot be cut: the forward pass never calls it; cut at blocks.0.",
        ),
        (
            lambda self, x: self.conv1(x),
            "fc",
            "fc cannot be cut: the forward pass never calls it; cut at conv1.",
        ),
        (
            lambda self, x: x + self.conv1(x).sum(),
            "conv1",
            "conv1 cannot be cut: the images flow past it; no other layer of this model can be cut either.",
        ),
        (
            branch,
            "conv1",
            "conv1 cannot be cut: a forward pass cannot be traced at `if hidden.sum() > 0:` "
            "(symbolically traced variables cannot be used as inputs to control flow); put this step into a "
            "module of its own.",
        ),
        (
            lambda self, x: logits(self, self.conv2(self.conv1(x) + torch.randn(4, 1, 1))),
            "conv1",
            "conv1 cannot be cut: a forward pass draws random numbers of its own, which a trace would keep "
            "for ever; put this step into a module of its own.",
        ),
    ],
)
def test_a_users_forward_pass_is_refused_in_a_sentence(forward, layer, sentence):
    assert refusal(Net(forward), layer) == sentence


def test_a_step_that_cannot_be_traced_may_stand_in_a_module_beside_the_layer():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), Net(lambda self, x: branch(self, x[:, :1])))
    assert models.layers(model) == ["0", "1"]
    assert exact(model, "0", images_of(1, 8, dtype=torch.float32))
    assert refusal(model, "1.conv2").endswith("put this step into a module of its own, or cut at 1 or 0.")
    with pytest.raises(
        UserError, match="The model cannot be cut: a forward pass cannot be traced at `if hidden.sum"
    ):
        models.layers(Net(branch))


def test_what_is_no_tensor_is_refused_when_it_comes():
    images = images_of(1, 6, dtype=torch.float32)
    with pytest.raises(
        UserError, match="What the layer lstm gives is no tensor, but of type tuple: cut at a layer that does"
    ):
        models.cut(Net(lambda self, x: self.lstm(self.conv1(x).flatten(2).transpose(1, 2))[0]), "lstm").head(
            images
        )
    head, tail = models.cut(Net(lambda self, x: {"logits": logits(self, self.conv2(self.conv1(x)))}), "conv1")
    with pytest.raises(UserError, match="What the model gives is no tensor, but of type dict: wrap it"):
        tail(head(images))
    with pytest.raises(ValueError, match="not of type function"):
        models.cut(logits, "conv1")


def test_a_batch_size_that_the_features_do_not_have_is_refused():
    def crops(self, x):
        corners = torch.cat([x[:, :, :5, :5], x[:, :, 1:, 1:]])
        return self.conv1(corners).reshape(2, x.size(0), -1).mean(0)

    head, _ = models.cut(Net(crops), "conv1")
    with pytest.raises(
        UserError,
        match="conv1 cannot be cut: the batch size 3 flows past it, and its own output begins with 6",
    ):
        head(images_of(1, 6, n=3, dtype=torch.float32))


def test_a_layer_under_two_names_is_called_twice():
    shared = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    model = nn.Sequential(nn.Sequential(shared), nn.Sequential(shared))
    assert models.layers(model) == ["0", "1"]
    assert "calls it 2 times" in refusal(model, "1.0.0")


# The property: values and gradients, and the model as it was ----------------------------------------------


def answers(model, call, images):
    """Logits, and the gradients of images and parameters for a fixed mixture of them."""
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    leaf, weights = images.clone().requires_grad_(), [one for one in model.parameters() if one.requires_grad]
    logits = call(leaf)
    mixture = torch.linspace(-1, 2, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
    return logits, torch.autograd.grad(logits, [leaf, *weights], mixture, allow_unused=True)


def assert_same_answers(theirs, ours):
    assert torch.equal(theirs[0], ours[0])
    for a, b in zip(theirs[1], ours[1], strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def small(name):
    """A network of torchvision's, in a small size where it has sizes."""
    nets = import_torchvision().models
    torch.manual_seed(2)
    return {
        "convnext": lambda: nets.ConvNeXt(
            [nets.convnext.CNBlockConfig(8, 16, 1), nets.convnext.CNBlockConfig(16, None, 2)], num_classes=3
        ),
        "densenet": lambda: nets.DenseNet(4, (2, 2, 2), 8, num_classes=3),
        "mnasnet": lambda: nets.MNASNet(0.25, num_classes=3),
        "mobilenet": lambda: nets.MobileNetV2(3, 0.25),
        "mobilenet_v3": lambda: nets.mobilenet_v3_small(num_classes=3),
        "regnet": lambda: nets.RegNet(
            nets.regnet.BlockParams.from_init_params(2, 8, 8.0, 2.0, 8, se_ratio=0.25), num_classes=3
        ),
        "resnet": lambda: nets.ResNet(nets.resnet.BasicBlock, [2, 1, 1, 1], num_classes=3),
        "shufflenet": lambda: nets.shufflenet_v2_x0_5(num_classes=3),
        "squeezenet": lambda: nets.squeezenet1_1(num_classes=3),
        "swin": lambda: nets.SwinTransformer([2, 2], 8, [1, 2], [2, 2], [4, 4], num_classes=3),
    }[name]()


@pytest.mark.parametrize(
    "name",
    [
        *("convnext", "densenet", "mnasnet", "mobilenet", "mobilenet_v3"),
        *("regnet", "resnet", "shufflenet", "squeezenet", "swin"),
    ],
)
def test_four_cuts_of_a_torchvision_network_have_its_values_and_gradients(name):
    model, images = small(name).double().eval(), images_of(3, 32)
    before, found = copy.deepcopy(model.state_dict()), models.layers(model)
    cuts = [models.cut(model, found[place * len(found) // 4]) for place in range(4)]
    wanted = answers(model, model, images)
    for head, tail in cuts:
        assert_same_answers(wanted, answers(model, lambda leaf, h=head, t=tail: t(h(leaf)), images))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())


class Rounded(torch.autograd.Function):
    """Quarters, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return (x * 4).round() / 4

    @staticmethod
    def backward(ctx, grad):
        return grad


LOG, TALLY = [], torch.zeros(1)


def counts(net, h):
    net.seen += 1
    return h + net.seen


def fills_lists(net, h):
    net.kept.append(h)
    LOG.append(h)
    type(net).shared.append(h)
    return h


def fills_a_dictionary(net, h):
    net.known["last"] = [h]
    net.last = h
    return h


def adds_in_place(net, h):
    TALLY.add_(1)
    h = h * 2
    h += 1
    return h.relu_()


def works_in_half(net, h):
    with torch.autocast("cpu", torch.bfloat16):
        return net.conv2(h)


def works_without_gradients(net, h):
    with torch.no_grad():
        return h + h.mean()


def works_in_inference(net, h):
    with torch.inference_mode():
        scale = h.detach().mean().clone()
    return h + scale


def tries(net, h):
    try:
        return h * 2 if h.mean() > 100 else h
    except Exception:
        return h


def asks_for_the_type(net, h):
    return h * 3 if isinstance(h, torch.Tensor) else h


def asks_in_another_way(net, h):
    return h * 3 if type(h) is torch.Tensor else h


def replaces_a_buffer(net, h):
    net.seen = net.seen + 1
    return h


def adds_to_a_tensor_of_its_own(net, h):
    total = torch.zeros(1)
    total += h.mean()
    return h + total


def writes_weights(net, h):
    for value in net.parameters():
        value.data.clamp_(-0.01, 0.01)
    return h


EXACT = [
    counts,
    fills_lists,
    fills_a_dictionary,
    adds_in_place,
    lambda net, h: Rounded.apply(h),
    lambda net, h: h * net.scale,
    lambda net, h: h[0] if isinstance(h, tuple) else h,
]
REFUSED = {
    works_in_half: "works under `torch.autocast` at `return net.conv2(h)`",
    works_without_gradients: "works under `torch.no_grad` at `return h + h.mean()`",
    works_in_inference: "works under `torch.inference_mode` at `scale = h.detach().mean().clone()`",
    lambda net, h: h + np.random.rand(): "draws random numbers of its own",
    lambda net, h: h + random.random(): "draws random numbers of its own",
    tries: "cannot be traced at `return h * 2 if h.mean() > 100 else h`",
    asks_for_the_type: "give different values, and a forward pass asks for the type of a value at `return h "
    "* 3 if isinstance(h, torch.Tensor) else h`",
    asks_in_another_way: "on 2 images its halves and the model give different values; put the steps around",
    replaces_a_buffer: "on 2 images its halves leave another seen than the model",
    adds_to_a_tensor_of_its_own: "on 2 images its halves and the model give different values",
    writes_weights: "on 2 images its halves and the model give different values",
}


class Made(nn.Module):
    """Some steps, a convolution, some steps, a linear layer; with buffers, lists and a hook."""

    shared: list = []

    def __init__(self, early, late, hook):
        super().__init__()
        LOG.clear(), self.shared.clear()
        self.conv, self.conv2 = nn.Conv2d(1, 2, 3).double(), nn.Conv2d(2, 2, 3, padding=1).double()
        self.fc, self.early, self.late = nn.Linear(32, 3).double(), early, late
        self.register_buffer("seen", torch.tensor([1.0], dtype=torch.float64))
        self.register_buffer("scale", torch.tensor([2.0], dtype=torch.float64))
        self.kept, self.known, self.outside = [1], {"first": 1}, []
        if hook:
            outside = self.outside
            self.register_forward_pre_hook(lambda part, given: (given[0] * 2,))
            self.register_forward_hook(lambda part, given, found: (outside.append(found), found * 3)[1])

    def forward(self, images):
        for step in self.early:
            images = step(self, images)
        features = self.conv(images)
        for step in self.late:
            features = step(self, features)
        return self.fc(features.flatten(1))


def everything(net):
    """What a model and its steps hold, in a form that can be compared."""
    return (
        {key: (type(value), value.tolist()) for key, value in net.state_dict().items()},
        (list(net.kept), dict(net.known), list(net.outside), list(LOG), list(Made.shared), TALLY.tolist()),
        {key: id(value) for key, value in vars(net).items()},
        (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
    )


steps = st.lists(st.sampled_from(EXACT), max_size=2)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(steps, steps, st.booleans())
def test_a_generated_module_is_cut_with_values_and_gradients(early, late, hook):
    torch.manual_seed(3)
    net, images = Made(early, late, hook), images_of(1, 6)
    before = everything(net)
    assert models.layers(net) == ["conv", "fc"]
    cuts = [models.cut(net, layer, images) for layer in ("conv", "fc")]
    assert everything(net) == before
    for head, tail in cuts:
        again = Made(early, late, hook)  # each call counts
        again.load_state_dict(net.state_dict())
        wanted = answers(again, again, images)
        assert_same_answers(wanted, answers(net, lambda leaf, h=head, t=tail: t(h(leaf)), images))
        assert torch.equal(net.seen, again.seen)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(REFUSED, key=REFUSED.get)), steps, st.booleans(), st.booleans())
def test_a_generated_module_that_a_trace_belies_is_refused_by_name(wrong, others, early, hook):
    wrong_in = [wrong if wrong is not works_in_half or not early else works_without_gradients, *others]
    torch.manual_seed(3)
    net, images = Made(*((wrong_in, []) if early else ([], wrong_in)), hook), images_of(1, 6)
    before = everything(net)
    with pytest.raises(UserError) as refused:
        models.cut(net, "conv", images)
    assert str(refused.value).startswith("conv cannot be cut: ") and REFUSED[wrong_in[0]] in str(
        refused.value
    )
    assert everything(net) == before


def test_halves_that_are_not_the_model_are_refused_at_their_first_batch():
    net = Made([asks_for_the_type], [], hook=False)
    head, _ = models.cut(net, "conv")
    with pytest.raises(UserError, match="on 2 images its halves and the model give different values"):
        head(images_of(1, 6))
    assert models.layers(net) == ["conv", "fc"] and models.layers(net, images_of(1, 6)) == []


def test_the_images_of_a_cut_take_the_models_dtype():
    head, tail = models.cut(net := Made([], [], hook=False), "conv", images_of(1, 6).float())
    assert torch.equal(tail(head(images_of(1, 6))), net(images_of(1, 6)))


def test_backward_hooks_and_what_cannot_be_copied_are_refused():
    hooked, stuck = Made([], [], hook=False), Made([], [], hook=False)
    hooked.register_full_backward_hook(lambda *given: None)
    assert refusal(hooked, "conv") == (
        "conv cannot be cut: the model has a backward hook, which the halves would not call; remove it."
    )
    stuck.generator = (number for number in range(3))
    assert refusal(stuck, "conv") == (
        "conv cannot be cut: a copy of the model cannot be made (cannot pickle 'generator' object); keep this "
        "object outside of it."
    )


def test_a_model_that_kept_the_output_of_its_last_call_is_cut():
    net, images = Made([fills_a_dictionary], [fills_lists], hook=True), images_of(1, 6)
    wanted = net(images)
    head, tail = models.cut(net, "conv", images)
    assert torch.equal(tail(head(images)), wanted)
    assert len(LOG) == len(Made.shared) == len(net.outside) == 1


def test_a_model_that_wants_more_images_than_a_few_is_compared_on_all():
    net = Net(lambda self, x: logits(self, self.conv2(self.conv1(x.reshape(2, 10, 1, 6, 6).flatten(0, 1)))))
    head, tail = models.cut(net, "conv1")
    images = images_of(1, 6, n=20, dtype=torch.float32)
    assert torch.equal(tail(head(images)), net(images))
    with pytest.raises(RuntimeError, match="shape"):
        models.cut(net, "conv1").head(images[:3])


def test_a_model_that_does_not_repeat_itself_is_refused_as_such():
    ticks = iter(range(1000)).__next__
    net = nn.Sequential(nn.Linear(2, 2), Net(lambda self, x: x + ticks()), nn.ReLU())
    with pytest.raises(
        UserError, match="the model differs from itself when it is called again with the same"
    ):
        models.cut(net, "2", torch.rand(3, 2))
