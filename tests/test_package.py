import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOOK = """
import importlib.resources, causalnb
from causalnb import ledger, notebook
from causalnb.chapters import ace
assert not causalnb.__file__.startswith(ROOT), causalnb.__file__
assert (importlib.resources.files("causalnb") / "py.typed").is_file()
print(sum(row.kind == "cell" and row.table is not None for row in ledger.load("ace").rows), notebook.begin("ace").p.data)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "causalnb", folder / "causalnb", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text"):
        shutil.copy(ROOT / name, folder)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    return next(folder.glob("dist/causalnb-*.whl"))


def test_a_wheel_in_an_environment_of_its_own_finds_ledgers_and_types(wheel, tmp_path):
    """The new environment sees this one's libraries, but not this checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [tmp_path / "env" / "bin" / "python", "-c", f"ROOT = {str(ROOT)!r}{LOOK}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["32", "digits"], done.stderr


def test_a_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"causalnb"}
    assert {
        "causalnb/chapters/ace/ledger.yaml",
        "causalnb/fragments/components.html",
        "causalnb/py.typed",
    } <= set(names)
