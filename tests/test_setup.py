"""Set-up elsewhere: the Makefile, pyproject.toml, constraints.txt and environment.yml say the same."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
PINNED = dict(
    (canonicalize_name(name), version)
    for name, _, version in (
        line.partition(";")[0].strip().partition("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
)

INHERITED = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # what `make test` tells the make that a test calls


def pip_lines():
    return next(one["pip"] for one in ENVIRONMENT["dependencies"] if isinstance(one, dict))


@pytest.mark.parametrize("says, found", [("Python 3.10.13", "3.10.13"), ("", "it does not run")])
def test_an_old_python_or_none_is_one_sentence(tmp_path, says, found):
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python-old"
    python.write_text(f"#!/bin/sh\necho '{'it is ' + says if says else ''}'\nexit 1\n")
    python.chmod(0o755)
    alone = {name: value for name, value in os.environ.items() if name not in INHERITED}
    for target in ("book", "test", "lab"):
        done = subprocess.run(
            ["make", target, f"PYTHON={python}"],
            cwd=tmp_path,
            env=alone,
            capture_output=True,
            text=True,
            check=False,
        )
        first, *rest = done.stderr.splitlines()
        assert done.returncode and done.stdout == "" and len(rest) == 1 and rest[0].startswith("make: ***")
        assert re.match(
            rf"Python 3.11 or newer is needed, and .*python-old is not that \(.*{found}\): .*\.$", first
        )
    assert not (tmp_path / ".venv").exists()


def test_the_makefile_asks_for_the_python_that_the_package_asks_for():
    least = re.search(r"v\[:2\] < \((\d+), (\d+)\)", (ROOT / "Makefile").read_text())
    assert f">={least[1]}.{least[2]}" == PROJECT["requires-python"]


def test_every_requirement_is_pinned_in_its_bounds():
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras]):
        name = canonicalize_name(requirement.name)
        if name in ("setuptools", "captum"):  # one builds the package, the other asks for an older numpy
            continue
        assert name in PINNED and requirement.specifier.contains(PINNED[name], prereleases=True), name


def test_the_conda_environment_installs_what_the_makefile_installs():
    python = next(one for one in ENVIRONMENT["dependencies"] if str(one).startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.partition("=")[2])
    wheels = re.search(r"CPU_WHEELS := (\S+)", (ROOT / "Makefile").read_text())[1]
    lines = pip_lines()
    assert f"--extra-index-url {wheels}" in lines and "-c constraints.txt" in lines and len(lines) == 3
    (own,) = (line for line in lines if line.startswith("-e "))
    extras = set(re.fullmatch(r"-e \.\[(.*)\]", own)[1].split(","))
    assert extras <= PROJECT["optional-dependencies"].keys() and {"book", "test", "lab"} == extras
    assert ENVIRONMENT["channels"] == ["conda-forge"] and "pip" in ENVIRONMENT["dependencies"]


def test_conda_solves_the_environment(tmp_path):
    conda = next(filter(None, map(shutil.which, ("mamba", "conda", "micromamba"))), None)
    if conda is None:
        pytest.skip("no conda is at hand")
    command = [
        conda,
        "create",
        "--dry-run",
        "--yes",
        "-p",
        str(tmp_path / "x"),
        "-c",
        "conda-forge",
        "python=3.11",
        "pip",
    ]
    subprocess.run(command, check=True, capture_output=True)
