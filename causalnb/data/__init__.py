"""Images with labels: embedded sets, real sets, folders of images, and shapes whose causes are known."""

from typing import TYPE_CHECKING

from causalnb import lazy

if TYPE_CHECKING:
    from causalnb.data.images import Images, Split, draw
    from causalnb.data.known import NAMES
    from causalnb.data.presence import describe, listed, named, require
    from causalnb.data.scenes import brightness, corners, do, render, shapes
    from causalnb.data.sets import load, shape
else:
    __getattr__, __dir__ = lazy.names(__name__)

__all__ = [
    "NAMES",
    "Images",
    "Split",
    "brightness",
    "corners",
    "describe",
    "do",
    "draw",
    "listed",
    "load",
    "named",
    "render",
    "require",
    "shape",
    "shapes",
]
