import copy
import pickle

import pytest
import torch
from torch import nn

from causalnb import UserError, models

OURS = {
    "lenet": (1, 28),
    "small_cnn": (1, 16),
    "cnn37": (1, 8),
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
def test_both_halves_are_the_network_bit_for_bit_at_every_layer(name, dtype):
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
    images = images_of(channels, size, dtype=dtype)
    assert [layer for layer in models.layers(model) if not exact(model, layer, images)] == []


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
