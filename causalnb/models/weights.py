"""Weights from a file, by the names that a network gives them. Networks themselves are architectures.py's.

Nothing is unpickled: a file of torch's is told apart, and how it is converted is said.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from causalnb import UserError, store

PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # how torch's files begin
WRAPPERS = frozenset(("_orig_mod", "module"))  # torch.compile's, DataParallel's; they may stand at any depth
CONVERT = """\
import torch, safetensors.torch as st; held = torch.load({source!r}, "cpu", weights_only=True)
st.save_file({{k: v.clone().contiguous() for k, v in max([held, *(d for d in held.values() if \
isinstance(d, dict))], key=lambda d: sum(map(torch.is_tensor, d.values()))).items() if torch.is_tensor(v)}}, \
{target!r})"""


class Chosen(nn.Module):
    """A network whose outputs stand for a set's classes: class k is its output `outputs[k]`, the others are
    left out.

    >>> Chosen(nn.Flatten(), [2, 0])(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1.]])
    """

    def __init__(self, model: nn.Module, outputs: Sequence[int]) -> None:
        """`outputs`: one for each class."""
        super().__init__()
        self.model, self.outputs = model, list(outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, height, width]."""
        logits: Tensor = self.model(images)
        return logits[:, self.outputs]


def read(path: Path) -> dict[str, Tensor]:
    """What a safetensors file holds; one with the store's seal must still bear it."""
    try:
        with path.open("rb") as stream:
            begins = stream.read(9)
        if begins.startswith(PICKLES) and not begins.endswith(b"{"):  # where safetensors' header begins
            raise UserError(_pickled(path))
        with safe_open(path, framework="pt") as file:
            if "sha256" not in (file.metadata() or {}) or store.sound(path):
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror if path.exists() else 'there is no such file'}): give "
            "the path of a safetensors file."
        ) from None
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged or no safetensors file ({error}): fetch or write it again."
        ) from None
    raise UserError(f"{path} is damaged (it does not match its checksum): fetch or write it again.")


def _pickled(path: Path) -> str:
    """What to do with a file of `torch.save`: two lines of Python that take its largest group of tensors."""
    lines = CONVERT.format(source=str(path), target=str(path.with_suffix(".safetensors")))
    return (
        f"{path} is torch's pickle, which may run code when it is read, so it is not read here: convert it "
        f"once with these two lines of Python, and give {path.with_suffix('.safetensors').name}.\n{lines}"
    )


def named(tensors: dict[str, Tensor], expected: Iterable[str], path: Path) -> dict[str, Tensor]:
    """Weights by the names that the bare network gives them.

    What torch.compile and DataParallel put into names is dropped wherever it stands, and then the prefix with
    which the most expected names are there; in a file with names "weights. ..." those alone count. Refused:
    two prefixes that serve as well.
    """
    own = {
        key.removeprefix("weights."): values for key, values in tensors.items() if key.startswith("weights.")
    } or tensors
    names = set(expected)
    if not any(WRAPPERS.intersection(name.split(".")) for name in names):
        own = _renamed(own, lambda key: ".".join(p for p in key.split(".") if p not in WRAPPERS))
    made = Counter(key[: -len(name)] for key in own for name in _ends(key) if name in names)
    best = [prefix for prefix, n in made.items() if n == max(made.values())]
    if len(best) > 1 and made[best[0]] == len(names):
        raise UserError(
            f"{path} holds the network's tensors more than once, under {' and '.join(map(repr, best[:3]))}: "
            "keep those of one name."
        )
    prefix = best[0] if best else ""
    return _renamed(own, lambda key: key.removeprefix(prefix))


def _ends(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[depth:]) for depth in range(len(parts))]


def _renamed(tensors: dict[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    """The tensors by other names, or by their own where two would have the same."""
    renamed = {rename(key): values for key, values in tensors.items()}
    return renamed if len(renamed) == len(tensors) else tensors


def outputs(given: dict[str, Tensor], make: Callable[[int], nn.Module]) -> int | None:
    """How many classes the weights tell apart, or None: the length of those tensors that are longer in a
    network of more classes.
    """
    few, more = (make(classes).state_dict() for classes in (2, 3))
    last = {
        len(given[key])
        for key, values in few.items()
        if values.shape != more[key].shape and key in given and given[key].dim()
    }
    return last.pop() if len(last) == 1 else None


def misfit(given: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """The first tensor that is missing, of another shape or kind, not finite or too many; "" where all
    fit.
    """
    for key, values in expected.items():
        if key not in given:
            return f"the tensor {key} is missing ({_held(given)})"
        if given[key].shape != values.shape:
            return f"the tensor {key} has the shape {list(given[key].shape)}, not {list(values.shape)}"
        if not _same_kind(given[key], values):
            return f"the tensor {key} holds {given[key].dtype}, not {values.dtype}"
        if not given[key].to(values.dtype).isfinite().all():
            return f"the tensor {key} holds numbers that are not finite in {values.dtype}"
    return next((f"the tensor {key} is too many" for key in given if key not in expected), "")


def _held(given: dict[str, Tensor]) -> str:
    """Some of the names in a file, in words."""
    shown, more = list(given)[:4], len(given) - 4
    return f"the file holds {', '.join(shown) or 'none'}" + (f" and {more} more" if more > 0 else "")


def _same_kind(given: Tensor, expected: Tensor) -> bool:
    """Whether numbers mean the same in the expected type: both floating point, or both whole."""
    if expected.is_floating_point():
        return given.is_floating_point() and given.element_size() >= 2
    return not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)
