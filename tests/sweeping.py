"""For the tests of sweeps: a chapter that needs a kernel and nothing heavy. Its record is a template with the
point's own values; each point writes a line when it begins and one when it ends.
"""

from datetime import UTC, datetime
from pathlib import Path

from causalnb import record, runner
from causalnb.parameters import parameters_of
from causalnb.statistics import exact

BEGIN = """\
import json, os, signal, time
from pathlib import Path
point = f"eps={eps},seed={seed}"
with open("begun.txt", "a") as file:
    file.write(f"{point}\\n")
"""
END = """\
made = json.loads(Path("template.json").read_text())
made["parameters"] |= {"eps": eps, "seed": seed}
made["measurements"]["small.eps"]["value"] = eps + seed
Path(os.environ["CAUSALNB_RECORD"]).write_text(json.dumps(made))
with open("ended.txt", "a") as file:
    file.write(f"{point}\\n")
"""
LEAVE = """\
while not Path("command.txt").exists():
    time.sleep(0.05)
if point == "eps=0.2,seed=0" and not Path("killed.txt").exists():
    there = sorted(file.parent.name for file in Path("runs/ace").glob("sweep-*/eps*/record.json"))
    Path("killed.txt").write_text("\\n".join(there))
    os.kill(int(Path("command.txt").read_text()) or os.getppid(), signal.SIGKILL)
    time.sleep(60)
"""


def template(cells, **values):
    """A record of the quick profile of ace with these parameters; its one measurement is their sum."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    estimate = exact(float(sum(values.values())))
    return record.Record(
        chapter="ace",
        profile="quick",
        edition="0",
        parameters=parameters_of("ace").resolve(values).model_dump(),
        measurements={
            "small.eps": record.Measurement(estimate=estimate, what="the budget", data=("digits",))
        },
        sections=[],
        source_digest="0",
        sources={"notebook": cells},
        environment={"versions": record.versions()},
        seeds=[0],
        device="cpu",
        threads=1,
        data={"digits": "0"},
        store=[],
        started=now,
        finished=now,
        seconds=1.0,
        cpu_seconds=1.0,
        peak_memory=1,
    )


def chapter(book, *cells):
    """The chapter with some more cells in its middle, in the book of the fixture."""
    folder, one = book(BEGIN, *cells, END), runner.chapter("ace")
    template(runner.cells(one), eps=0.5).write(folder / "template.json")
    return one


def lines(name):
    """What the points wrote."""
    file = Path(name)
    return file.read_text().split() if file.exists() else []


def grid(*eps, seeds=1):
    """Points by eps and seed, and the names of their folders."""
    return [{"eps": one, "seed": seed} for one in eps for seed in range(seeds)]


def words(outcomes):
    return [one.word for one in outcomes.values()]
