"""An edition as one file that can be cited and archived: the site, the records, ledgers and verdicts, the
executed notebooks, weights and environment as an RO-Crate.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import causalnb
from causalnb import UserError, files
from causalnb.book import changes

KEPT = {
    "README.md": "what the book is and how it is run",
    "CITATION.cff": "how to cite it",
    "CHANGELOG.md": "what changed from edition to edition",
    "LICENSE": "the licence of the code",
    "LICENSE-text": "the licence of text and figures",
    "constraints.txt": "the versions of all packages",
    "environment.yml": "the environment for conda",
    "pyproject.toml": "the package",
    "notebooks": "the chapters as text notebooks",
    "causalnb": "the helper package, with each chapter's ledger",
    "book/published": "the published executions: executed notebooks and their records",
    "weights": "the weights that published chapters need",
    "_build/html": "the site: open index.html",
}


def write(root: Path, output: Path) -> Path:
    """Write the edition in the folder `root` as a zip, from what is published and rendered there.

    raises   UserError where the site was not rendered, or rocrate is missing
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError(
            "A crate needs rocrate: `pip install rocrate`, or `make crate`, which does."
        ) from None
    if not (root / "_build" / "html" / "index.html").is_file():
        raise UserError("No site is in _build/html: render it with `make book`, then make the crate.")
    edition = changes.judged(root)
    crate = ROCrate()
    crate.name = f"causalnb {causalnb.__version__}: a book that runs"
    crate.description = (
        "Papers on causality and adversarial examples, done again, with a computed verdict for every row."
    )
    crate.license = "MIT AND CC-BY-4.0"
    crate.root_dataset["version"] = causalnb.__version__
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"verdicts.json": edition, "data.json": digests(edition)}.items():
            files.write(Path(folder, name), json.dumps(content, indent=1))
        crate.add_file(Path(folder, "verdicts.json"), properties=_said("every ledger row with its verdict"))
        crate.add_file(Path(folder, "data.json"), properties=_said("the digests of the data, by chapter"))
        for name, what in KEPT.items():
            if (place := root / name).is_dir():
                clean = Path(folder, name)
                shutil.copytree(place, clean, ignore=shutil.ignore_patterns("__pycache__", ".*"))
                crate.add_directory(clean, name, properties=_said(what))
            elif place.exists():
                crate.add_file(place, name, properties=_said(what))
        part = Path(folder, "edition.zip")
        crate.write_zip(part)
        return files.write(output, part.read_bytes())


def digests(edition: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Of the data that each chapter's published record used."""
    return {name: chapter["data"] for name, chapter in edition["chapters"].items()}


def _said(what: str) -> dict[str, str]:
    return {"description": what}
