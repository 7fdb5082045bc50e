"""Which sets are at hand, and how an absent one comes: nothing is decoded here.

Real sets lie under the data root as torchvision lays them out; torchvision is imported only to download one.
"""

import difflib
import os
import socket
from pathlib import Path
from typing import Any

from causalnb import UserError, console, paths, vision
from causalnb.data import content
from causalnb.data.known import KNOWN, NAMES, SHA256, Known


def named(name: str) -> str:
    """A set's own name, whatever its case, where no folder is meant; a folder as it is."""
    return name.lower() if name.lower() in KNOWN and not os.path.isdir(paths.typed(name)) else name


def listed(text: str) -> str:
    """Names of sets and folders as the parameter `data` takes them: commas separate them, unless all is the
    path of one folder.
    """
    if "," in text and os.path.isdir(paths.typed(text)):
        return text.replace(",", "\\,")
    return ",".join(named(name) for name in text.split(","))


def require(name: str) -> None:
    """See to it that a set can be loaded, without loading it: an absent one is downloaded under the data
    root, and the files of a named one must be the set's, byte for byte.

    torchvision shows its bar. A folder of the name need only be there.
    """
    if name not in KNOWN:
        if os.path.isdir(paths.typed(name)):
            return
        near = difflib.get_close_matches(name, NAMES, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"{name} is neither a data set nor a folder{guess}: give one of {', '.join(NAMES)}, or the path "
            "of a folder of images (a comma in it is written \\,)."
        )
    if _absent(KNOWN[name]):
        _download(name)
    for file, place in places(KNOWN[name]).items():
        content.refuse_other(place, content.sha256(place), SHA256[file], of=name)


def describe() -> list[dict[str, Any]]:
    """One row for each of `NAMES`: name, what, licence, megabytes (of the download), present (its files are
    there; what they hold is compared by `require`).
    """
    return [
        {
            "name": name,
            "what": known.what,
            "licence": known.licence,
            "megabytes": known.megabytes,
            "present": not _absent(known),
        }
        for name, known in KNOWN.items()
    ]


def places(known: Known) -> dict[str, Path]:
    """Where each of a set's files lies, or should."""
    return {file: paths.data_root() / file for file in known.files}


def _absent(known: Known) -> list[str]:
    return [file for file, place in places(known).items() if not place.is_file()]


def _download(name: str) -> None:
    known, root = KNOWN[name], paths.data_root()
    console.say(f"{name} is not at hand: downloading {known.megabytes} MB to {root}")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        getattr(vision.import_torchvision().datasets, known.loader)(root, download=True)
        reason = f"torchvision downloads nothing beside {known.loader}/processed (move that away)"
    except (RuntimeError, OSError) as error:
        reason = f"the download failed ({(str(error).strip() or type(error).__name__).splitlines()[-1]})"
    finally:
        socket.setdefaulttimeout(patience)
    if absent := _absent(known):
        raise UserError(
            f"{name} is not at hand: looked for {absent[0]} under {root}, and {reason}. "
            f"Put its {len(known.files)} files there, or run `causalnb data {name}` where there is a network."
        )
