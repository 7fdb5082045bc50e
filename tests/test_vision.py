import subprocess
import sys

import pytest

BROKEN = """
import torch
torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: None)
torch.library.register_fake("torchvision::qnms")(lambda dets, scores, iou_threshold: None)
"""


def run(tmp_path, source, code):
    """Run `code` in a process where torchvision is the given source; the last line of each stream."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(source)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom causalnb.vision import "
        f"import_torchvision\n{code}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return done.stdout.strip(), (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize(("source", "declared"), [(BROKEN, True), ("", False)])
def test_operators_are_declared_only_where_the_import_misses_them(tmp_path, source, declared):
    code = (
        "import gc, torch\nfirst = import_torchvision(); "
        "gc.collect()\nprint(hasattr(torch.ops.torchvision, 'nms'), import_torchvision() is first)"
    )
    assert run(tmp_path, source, code)[0] == f"{declared} True"


def test_a_failure_of_another_kind_is_passed_on(tmp_path):
    assert (
        run(tmp_path, "raise RuntimeError('something else')", "import_torchvision()")[1]
        == "RuntimeError: something else"
    )
