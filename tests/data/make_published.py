"""Small files in the three layouts of the published ones, eight filters a record: `python make_published.py`.

quoted   one dictionary between quotation marks, a key that occurs twice, integers and exponents among the CI
lines    a dictionary a line, no quotation marks
comma    a comma behind the last record
"""

from pathlib import Path

HERE = Path(__file__).parent / "published"
FILTERS = 8
QUOTED = {
    "0__17.png_as_3": [3e-05, 0.25, -0.5, 0.0, -0.0, 1e-07, 2.0, -3e-06],
    "1__5.png_as_1": [0.125, 0.125, 0.0, 0.0, -1.0, -1.0, 0.5, 0.5],
    "0__17.png_as_3 again": [2e-05, 0.24, -0.51, -0.01, -0.01, -0.01, 1.99, 0.0],
}
LINES = {
    "2__2_as_3_40.png_as_3": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
    "7__7_as_8_9.png_as_7": [-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8],
}
COMMA = {
    "44__ILSVRC2012_val_00000007.JPEG": [0.0] * 8,
    "0__ILSVRC2012_val_00030740.JPEG": [0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
}


def record(key, values):
    """A record as the files write it: filters by falling CI, ties by filter."""
    order = sorted(range(len(values)), key=lambda i: -values[i])
    pairs = ", ".join(f"({i}, ({values[i]!r}, 1))" for i in order)
    return f"'{key.removesuffix(' again')}': [{pairs}]"


def contents():
    """The three files by name."""
    quoted, lines, comma = ([record(*item) for item in part.items()] for part in (QUOTED, LINES, COMMA))
    return {
        "quoted.txt": '"{\n' + ",\n".join(quoted) + '\n}"\n',
        "lines.txt": "\n" + "\n".join(f"{{{one}}}" for one in lines) + "\n\n",
        "comma.txt": '"{\n' + "".join(f"{one},\n" for one in comma) + '}"',
    }


if __name__ == "__main__":
    for name, text in contents().items():
        (HERE / name).write_text(text, encoding="utf-8")
