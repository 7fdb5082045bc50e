"""Write NAME.expected.json beside this file for every chapter: what its checked cells print at the quick
profile.

Run it when a chapter's numbers change on purpose: python tests/notebooks/make_expected.py [NAME ...]
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from causalnb import runner

TAG = "nbval-check-output"
HERE = Path(__file__).parent


def checked(notebook):
    """The cells whose output is compared."""
    return [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]


def printed(cell):
    return "".join(
        output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"
    )


def main(names):
    import nbformat

    for one in runner.chapters().values():
        if names and one.name not in names:
            continue
        with tempfile.TemporaryDirectory() as store:
            os.environ["CAUSALNB_STORE"] = store
            done = runner.run(one, {"profile": "quick"})
        lines = [printed(cell).splitlines() for cell in checked(nbformat.read(done.notebook, as_version=4))]
        file = HERE / f"{one.source.stem}.expected.json"
        file.write_text(json.dumps(lines, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{file.name}: {sum(map(len, lines))} lines in {len(lines)} cells")


if __name__ == "__main__":
    main(sys.argv[1:])
