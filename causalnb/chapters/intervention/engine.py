"""The intervention itself: some channels of a layer from the attacked image, the rest from the clean one, and
the logits that follow (Coppola & Lee 2024, Eqs. 1 to 4).

`by_the_text` is the paper's way, `Engine` the same numbers by the network's structure, `swap` one call.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from causalnb import UserError, models
from causalnb.chapters.intervention import sets as sets_
from causalnb.models.channelwise import apart_until
from causalnb.models.copies import copied
from causalnb.models.folding import folded

BYTES = 1 << 21  # of the features of sets that go through the network together: they stay in the cache
BATCHES = 8, 256  # sets at a time, at least and at most
CHECKED = 3  # sets of the first image that are compared with the paper's way
FARTHEST = {torch.float64: 1e-9, torch.float32: 1e-4}  # of the largest logit, between ways that agree


def by_the_text(model: nn.Module, layer: str, clean: Tensor, attacked: Tensor, sets: Tensor) -> Tensor:
    """Logits z^Phi [n, m, classes] of n images for m sets, the network cut behind the layer (3.1).

    >>> clean, attacked = torch.rand(2, 5, 1, 8, 8)
    >>> z = by_the_text(models.cnn37(size=8).eval(), "conv1", clean, attacked, torch.tensor([0, 7]))
    >>> z.shape
    torch.Size([5, 2, 2])
    """
    with torch.enable_grad():  # without which a network is not traced
        halves = models.cut(model, layer)
    return _one_by_one(halves, clean, attacked, sets)


@torch.no_grad()
def _one_by_one(halves: models.Cut, clean: Tensor, attacked: Tensor, sets: Tensor) -> Tensor:
    h, h_attacked = halves.head(clean), halves.head(attacked)
    inside = sets_.members(sets.to(h.device), h.shape[1]).view(-1, h.shape[1], *[1] * (h.ndim - 2))
    return torch.stack([halves.tail(torch.where(one, h_attacked, h)) for one in inside], dim=1)


def swap(model: nn.Module, layer: str, clean: Tensor, attacked: Tensor, sets: Tensor | None = None) -> Tensor:
    """The same, fast: logits [n, m, classes] with the channels of each set swapped for the attacked ones.

    model             any network in evaluation mode
    layer             the name of one of its layers, whose output has the shape [n, channels, ...]
    clean, attacked   images [n, ...] in [0, 1], the same ones before and after an attack
    sets              [m] whole numbers whose bit j says that channel j is swapped, or [n, m], other ones for
                      each image; without it each channel alone

    >>> net, images = models.resnet20().eval(), torch.rand(2, 3, 32, 32)
    >>> swap(net, "conv1", images, (images + 0.03).clamp(0, 1)).shape
    torch.Size([2, 16, 10])
    """
    engine = Engine(model, layer)
    if sets is None:
        sets = sets_.of_size(engine.width(clean), 1)
    return torch.stack([one.logits for one in engine(clean, attacked, sets)])


@dataclass(frozen=True)
class Swapped:
    """One image: its logits clean [classes], attacked [classes], and with each set swapped [m, classes]."""

    clean: Tensor
    attacked: Tensor
    logits: Tensor


class _Given(nn.Module):
    """In place of a convolution: what it would give is put in from outside."""

    value: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """That value."""
        return self.value


@dataclass(frozen=True)
class _Second:
    """A convolution that reads the swapped features, and what gives its output instead."""

    convolution: nn.Conv2d
    given: _Given


class Engine:
    """g_B on mixtures of clean and attacked channels, by the structure of the network.

    Features and logits of an image are made once for all its sets. Batch norms are folded; the swap is made
    behind what treats channels alone (I3); what the next convolution makes of it is one matrix product over
    the swapped channels (I13). Public operations alone; a network of another form goes the plain way. The
    first image of each shape is compared with the paper's way on a few sets; where they disagree, the plain
    way is taken.

    layer, seam   where the paper swaps, and where it is done
    seconds       the convolutions that are sums over swapped channels
    notes         why a way was not taken
    """

    @torch.enable_grad()
    def __init__(self, model: nn.Module, layer: str, *, plain: bool = False) -> None:
        """`plain`: cut and cached, nothing else. Refused: a model in training mode, whose batch norm would
        mix the sets; a layer at which it cannot be cut.
        """
        if any(part.training for part in model.modules()):
            raise UserError(
                "The model is in training mode, in which batch norm mixes the images of a batch and with "
                "them the swapped channels: call model.eval() first."
            )
        self.model, self.layer, self.notes = model, layer, list[str]()
        self.halves, self.compared = models.cut(model, layer), set[torch.Size]()
        self.seconds, self.reads = list[_Second](), True
        self.seam, own = layer, copied(model)
        if not plain:
            own, _ = folded(model)
            self.seam = apart_until(own, layer)
        self.own = own.requires_grad_(False)
        for part in self.own.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
        self.head, self.tail = models.cut(self.own, self.seam)
        self.searched = plain

    @torch.no_grad()
    def width(self, images: Tensor) -> int:
        """H, how many channels the layer has on such images."""
        return self._features(images[:1]).shape[1]

    def __call__(self, clean: Tensor, attacked: Tensor, sets: Tensor) -> Iterator[Swapped]:
        """Each image in turn; arguments as in `swap`."""
        if clean.shape != attacked.shape:
            raise ValueError(f"clean and attacked images differ: {clean.shape} and {attacked.shape}")
        for row in range(len(clean)):
            mine = sets if sets.ndim == 1 else sets[row]
            pair = torch.stack([clean[row], attacked[row]])
            made = self._swapped(pair, mine)
            if pair.shape not in self.compared and len(mine):
                if not self._agrees(pair, mine, made):
                    self._go_plain()
                    made = self._swapped(pair, mine)
                self.compared.add(pair.shape)
            yield made

    def _features(self, images: Tensor) -> Tensor:
        made = self.head(images)
        if made.ndim < 2:
            raise UserError(f"{self.layer} gives no tensor [images, channels, ...]: name a convolution.")
        return made.contiguous(memory_format=torch.channels_last) if made.ndim == 4 else made

    @torch.no_grad()
    def _swapped(self, pair: Tensor, sets: Tensor) -> Swapped:
        features = self._features(pair)
        if not self.searched:
            self._search(features)
        a, b = features
        products = [_Product(one, a, b) for one in self.seconds]
        for one in products:
            one.give_own()
        ends = self.tail(features)
        parts = []
        for inside in sets_.members(sets.to(a.device), len(a)).split(self._batch(a, products)):
            for one in products:
                one.give(inside)
            parts.append(self.tail(_mixed(a, b, inside) if self.reads else _empty(a, len(inside))))
        return Swapped(ends[0], ends[1], torch.cat(parts) if parts else ends[:0])

    def _batch(self, a: Tensor, products: "list[_Product]") -> int:
        largest = max(a.numel() * self.reads, *(one.numel for one in products), 1, 1)
        least, most = BATCHES
        return min(most, max(least, BYTES // (largest * a.element_size())))

    def _search(self, features: Tensor) -> None:
        """Find the convolutions that are given the features as they are, and put a `_Given` in their
        place.
        """
        self.searched = True
        probe = torch.randn(features.shape, generator=torch.Generator().manual_seed(0), dtype=features.dtype)
        probe = probe.to(features.device)
        names = _reading(self.own, self.tail, probe)
        for name in names:
            given = _Given()
            convolution = self.own.get_submodule(name)
            assert isinstance(convolution, nn.Conv2d)
            parent, _, last = name.rpartition(".")
            setattr(self.own.get_submodule(parent), last, given)
            self.seconds.append(_Second(convolution, given))
        if names:
            for one in self.seconds:
                one.given.value = one.convolution(probe)
            self.reads = not torch.equal(self.tail(probe), self.tail(torch.zeros_like(probe)))

    def _agrees(self, pair: Tensor, sets: Tensor, made: Swapped) -> bool:
        some = torch.linspace(0, len(sets) - 1, min(CHECKED, len(sets))).long()
        slow = _one_by_one(self.halves, pair[:1], pair[1:], sets[some])[0]
        bound = FARTHEST.get(slow.dtype, FARTHEST[torch.float32]) * max(float(slow.abs().max()), 1.0)
        return float((slow - made.logits[some]).abs().max()) <= bound

    def _go_plain(self) -> None:
        plain = Engine(self.model, self.layer, plain=True)
        self.__dict__.update(vars(plain) | {"notes": [*self.notes, "the fast way gave other numbers"]})


class _Product:
    """What a second convolution gives for sets of one image: C_0 + sum over the swapped channels of D_j
    (I13), C_0 of the clean features and D_j of channel j's change.
    """

    def __init__(self, second: _Second, a: Tensor, b: Tensor) -> None:
        self.second, convolution = second, second.convolution
        both = convolution(torch.stack([a, b]))
        self.own, self.shape = both, both.shape[1:]
        change = _each_channel(b - a, convolution)
        self.base, self.change = _flat(both[:1])[0], _flat(change)
        self.numel = self.base.numel()

    def give_own(self) -> None:
        """Of the clean and the attacked features."""
        self.second.given.value = self.own.clone()  # what follows may write on it

    def give(self, inside: Tensor) -> None:
        """Of the mixtures inside [m, channels]."""
        made = torch.addmm(self.base, inside.to(self.base.dtype), self.change)
        out, *space = self.shape
        self.second.given.value = made.view(-1, *space, out).movedim(-1, 1)


def _each_channel(change: Tensor, convolution: nn.Conv2d) -> Tensor:
    """What each channel of `change` [H, ...] alone adds to the output: [H, out, ...], one grouped
    convolution.
    """
    channels, out = change.shape[0], convolution.out_channels
    weight = convolution.weight.transpose(0, 1).reshape(channels * out, 1, *convolution.kernel_size)
    made = conv2d(
        change[None],
        weight,
        stride=convolution.stride,
        padding=convolution.padding,
        dilation=convolution.dilation,
        groups=channels,
    )
    return made.view(channels, out, *made.shape[2:])


def _flat(features: Tensor) -> Tensor:
    """[m, out, ...] with the channels last, each of the m as one row."""
    return features.movedim(1, -1).reshape(len(features), -1)


def _mixed(a: Tensor, b: Tensor, inside: Tensor) -> Tensor:
    """h^Phi = h m + h' (1 - m) for sets inside [m, channels]: [m, channels, ...], channels last (Eq. 4)."""
    last = partial(torch.movedim, source=0, destination=-1)
    made = torch.where(inside.view(-1, *[1] * (a.ndim - 1), inside.shape[1]), last(b), last(a))
    return made.movedim(-1, 1)


def _empty(a: Tensor, n: int) -> Tensor:
    """Features that nothing reads, for the batch size they bring."""
    return a.new_zeros(1).expand(n, *a.shape)


def _reading(own: nn.Module, tail: Callable[[Tensor], Tensor], probe: Tensor) -> list[str]:
    """The names of the convolutions that are called once, and on the features as they are."""
    seen: dict[str, list[bool]] = {}

    def saw(name: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        same = given[0].shape == probe.shape and torch.equal(given[0], probe)
        seen.setdefault(name, []).append(same)

    plain = {
        name: part
        for name, part in own.named_modules()
        if type(part) is nn.Conv2d
        and part.groups == 1
        and part.padding_mode == "zeros"
        and not (part._forward_hooks or part._forward_pre_hooks)
    }
    handles = [part.register_forward_pre_hook(partial(saw, name)) for name, part in plain.items()]
    try:
        tail(probe)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, calls in seen.items() if calls == [True]]
