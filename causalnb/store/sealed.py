"""One safetensors file that appears whole or not at all, and bears a SHA-256 over all of it (its own 64
digits read as zeros): whatever happens to it later is seen when it is read. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from safetensors import SafetensorError, safe_open

from causalnb import files

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Found: TypeAlias = "tuple[dict[str, Tensor], dict[str, Any]]"
HINT = "free space there, or choose another folder (CAUSALNB_STORE sets the store's)"
MALFORMED = (
    SafetensorError,
    ValueError,
    KeyError,
    TypeError,
    RecursionError,
)  # of a header that others wrote
_SEAL, _OPEN = b'"sha256":"', b"0" * 64
_LONGEST = 100_000_000  # bytes of a header, as safetensors has it


class Damaged(ValueError):
    """A file that does not hold what was once written to it, or was never written here."""


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors under a header (JSON), sealed by a checksum; a kill at any moment leaves the file that
    was there, or this one.

    Tensors come back contiguous, and no longer share memory.
    """
    files.write(path, packed(tensors, header), hint=HINT)


def packed(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    """What `write` writes."""
    import torch
    from safetensors.torch import save

    apart = {
        name: values.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, values in tensors.items()
    }
    content = bytearray(
        save(apart, metadata={"header": json.dumps(header, sort_keys=True), "sha256": _OPEN.decode()})
    )
    start = content.find(_SEAL) + len(_SEAL)
    content[start : start + len(_OPEN)] = hashlib.sha256(content).hexdigest().encode()
    return bytes(content)


def read(path: Path, *, device: str | torch.device = "cpu") -> Found:
    """The tensors and the header that `write` wrote; Damaged where the file is not as it was."""
    if not sound(path):
        raise Damaged(f"{path} does not match its checksum")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            mapped = {name: file.get_tensor(name) for name in names}
            header = dict(json.loads(file.metadata()["header"]))
    except MALFORMED:
        raise Damaged(f"{path} bears a checksum, but is no file of tensors under a header") from None
    # A mapped file starts at any byte; a copy is aligned as torch aligns, so that sums round as they did.
    return {name: values.to(device, copy=True) for name, values in mapped.items()}, header


def read_header(path: Path) -> dict[str, Any]:
    """The header alone, unchecked against the seal; Damaged where there is none."""
    try:
        with safe_open(path, framework="np") as file:
            return dict(json.loads(file.metadata()["header"]))
    except MALFORMED:
        raise Damaged(f"{path} has no header of the store's") from None


def sound(path: Path) -> bool:
    """Whether a file is as `write` wrote it; read in pieces, so that its size does not matter."""
    with path.open("rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if length > _LONGEST:
            return False
        head += file.read(length)
        start = head.find(_SEAL) + len(_SEAL)
        said, rest = head[start : start + len(_OPEN)], head[start + len(_OPEN) :]
        digest = hashlib.sha256(head[:start] + _OPEN + rest)
        for piece in iter(partial(file.read, 1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest().encode() == said
