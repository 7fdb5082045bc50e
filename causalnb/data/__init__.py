"""Images with labels: embedded sets, real sets, folders of images, and shapes whose causes are known."""

from causalnb.data.images import Images, Split, draw
from causalnb.data.scenes import brightness, corners, do, render, shapes
from causalnb.data.sets import NAMES, describe, load, require

__all__ = [
    "NAMES",
    "Images",
    "Split",
    "brightness",
    "corners",
    "describe",
    "do",
    "draw",
    "load",
    "render",
    "require",
    "shapes",
]
