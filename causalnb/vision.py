"""torchvision, imported on demand: also where its compiled operators do not fit the installed torch."""

import importlib
import sys
from types import ModuleType
from typing import Any

_OPERATORS: list[Any] = []  # an operator lives as long as its library


def import_torchvision() -> ModuleType:
    """The torchvision module.

    A CUDA build beside a CPU torch cannot load its compiled operators, and its import ends at the first one
    that it describes. Then the two that it asks for are declared, without a body, and the import is made
    again: models, data sets and transforms work, an operator such as non-maximum suppression raises when it
    is called.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    import torch

    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _OPERATORS.append(library)
    return importlib.import_module("torchvision")
