"""What a kill, a full disk or a second process can do to the store and to a training. Run as a program, this
file trains.
"""

import errno
import multiprocessing
import os
import random
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from causalnb import UserError, console, store
from causalnb.data import Images
from causalnb.store import Store
from causalnb.training import Recipe, cross_entropy, fit

resource = pytest.importorskip("resource", reason="these need a Linux")
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="these need a Linux")
RECIPE = Recipe(rate=0.05, momentum=0.9, epochs=60, batch=16, augmentation="crop-flip", schedule="cosine")
fork = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def child(work, *arguments):
    """A forked process that does `work`; it is started, and nothing of this process's tests goes on in it."""
    process = fork.Process(target=work, args=arguments)
    process.start()
    return process


def block(number):
    return {"x": torch.full((1 << 18,), float(number))}  # 1 MiB


def key(number):
    return {"what": "block", "number": number}


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 2)
        )


def images():
    pixels = torch.rand(160, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return Images("noise", "train", pixels, (pixels.mean((1, 2, 3)) > 0.5).long(), ("dark", "bright"), "")


def test_training_killed_at_any_time_ends_with_the_same_weights_bit_for_bit(tmp_path):
    whole, file = fit(model(), images(), cross_entropy, RECIPE), tmp_path / "checkpoint"
    for epochs in (2, 20):  # the last one said may not have been kept yet
        training = subprocess.Popen(
            [sys.executable, __file__, str(file)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(epochs):
            assert training.stdout.readline() == "an epoch\n"
        training.kill()
        assert training.wait() == -signal.SIGKILL
    done = len(store.read(file)[1]["history"])
    resumed = fit(model(), images(), cross_entropy, RECIPE, checkpoint=file)
    assert 20 <= done < 60 and len(resumed.history) == 60
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True)
    )


def write_for_ever(root, report):
    kept = Store(root)
    for number in range(1, 10_000):
        kept.get_or_make(key(number), lambda number=number: block(number))
        report.send(number)


def test_a_store_killed_at_random_moments_keeps_all_that_was_there_and_believes_no_half(tmp_path):
    kept, moments = Store(tmp_path), random.Random(0)
    kept.get_or_make(key(0), lambda: block(0))
    for _ in range(30):
        receive, send = fork.Pipe(duplex=False)
        writer = child(write_for_ever, tmp_path, send)
        last = receive.recv()
        writer.join(moments.uniform(0, 0.02))
        writer.kill()
        writer.join()
        while receive.poll():
            last = receive.recv()
        assert kept.verify() == [] and len(kept.entries()) in (last + 1, last + 2)
        for number in (
            0,
            last,
            last + 1,
            last + 2,
        ):  # what was made is there, and the next can be made at once
            assert torch.equal(
                kept.get_or_make(key(number), lambda number=number: block(number))["x"], block(number)["x"]
            )
        assert list(tmp_path.glob("*.part")) == []
        for entry in kept.entries():
            if entry.key != key(0):
                entry.path.unlink()


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def write_and_die(root, moment):
    kept = Store(root)
    if moment == "holding the lock":
        Path.write_text = die
    elif moment == "setting a damaged one aside":
        kept._path(key(1)).write_bytes(b"damaged")
        Path.replace = die
    elif moment == "in the maker":
        kept.get_or_make(key(1), die)
    elif moment == "half way through the bytes":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    elif moment == "before the bytes are safe":
        os.fsync = die
    elif moment == "before the rename":
        Path.replace = die
    elif moment == "after the rename":
        real = os.fsync
        os.fsync = lambda descriptor: (
            real(descriptor),
            os.path.isdir(f"/proc/self/fd/{descriptor}") and die(),
        )
    elif moment == "before its checkpoints go":
        shutil.rmtree = die
    kept.get_or_make(key(1), lambda: block(1))


@pytest.mark.parametrize(
    "moment, there",
    [
        ("holding the lock", False),
        ("setting a damaged one aside", False),
        ("in the maker", False),
        ("half way through the bytes", False),
        ("before the bytes are safe", False),
        ("before the rename", False),
        ("after the rename", True),
        ("before its checkpoints go", True),
    ],
)
def test_a_kill_at_each_step_of_a_making_leaves_the_whole_entry_or_none(tmp_path, moment, there):
    kept = Store(tmp_path)
    kept.get_or_make(key(0), lambda: block(0))
    checkpoint = kept.folder(key(1)) / "checkpoint"
    checkpoint.write_text("an hour of work")
    writer = child(write_and_die, tmp_path, moment)
    writer.join()
    assert writer.exitcode in (-signal.SIGKILL, -signal.SIGXFSZ) and checkpoint.exists()
    assert len(kept.verify()) == (moment == "setting a damaged one aside")
    assert sorted(entry.key["number"] for entry in kept.entries()) == ([0, 1] if there else [0])
    made = []
    assert torch.equal(kept.get_or_make(key(1), lambda: made.append(1) or block(1))["x"], block(1)["x"])
    assert len(made) == (not there) and len(kept.entries()) == 2
    assert list(tmp_path.glob("*.part")) == [] and kept.verify() == []


def make_slowly(root, holding, waiting, report):
    def make():
        holding.set()
        assert waiting.wait(30)
        return block(1)

    kept = Store(root)
    kept.get_or_make(key(1), make)
    report.send(kept.uses[0].made)


def want_the_same(root, holding, waiting, report):
    said = []
    store.locks.PATIENCE = 0.05
    console.say = lambda line: (said.append(line), waiting.set())
    assert holding.wait(30)
    kept = Store(root)
    value = kept.get_or_make(key(1), lambda: block(2))
    report.send((kept.uses[0].made, float(value["x"][0]), said))


def test_of_two_processes_one_makes_and_the_other_says_that_it_waits(tmp_path):
    holding, waiting, (first, one), (second, two) = (
        fork.Event(),
        fork.Event(),
        fork.Pipe(duplex=False),
        fork.Pipe(duplex=False),
    )
    both = (
        child(make_slowly, tmp_path, holding, waiting, one),
        child(want_the_same, tmp_path, holding, waiting, two),
    )
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert first.recv() is True
    lock = tmp_path / "locks" / f"block-{store.key_digest(key(1))[:16]}.lock"
    assert second.recv() == (
        False,
        1.0,
        [
            f"Process {both[0].pid} on {os.uname().nodename} is making block: waiting for it ({lock} is its lock)."
        ],
    )


def sentence_under_a_limit(work, report, limit=300_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        report.send(f"no error: {work()}")
    except UserError as error:
        report.send(str(error))


@pytest.mark.parametrize("size", [0, *sorted(random.Random(0).sample(range(1, 1 << 20), 9))])
def test_a_disk_that_is_full_at_any_byte_is_a_sentence_and_leaves_what_was_there(tmp_path, size):
    kept = Store(tmp_path)
    kept.get_or_make(key(0), lambda: block(0))
    checkpoint = kept.folder(key(1)) / "checkpoint"
    checkpoint.write_text("an hour of work")
    receive, send = fork.Pipe(duplex=False)
    child(sentence_under_a_limit, lambda: kept.get_or_make(key(1), lambda: block(1)), send, size).join()
    said = receive.recv()
    assert said.startswith(f"{tmp_path}/") and said.endswith(
        "cannot be written (File too large): free space there, or choose another folder (CAUSALNB_STORE sets "
        "the store's)."
    )
    assert kept.verify() == [] and [entry.key for entry in kept.entries()] == [key(0)]
    assert list(tmp_path.glob("*.part")) == [] and checkpoint.read_text() == "an hour of work"
    assert float(kept.get_or_make(key(1), lambda: block(1))["x"][0]) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_what_the_disk_refuses_when_bytes_are_made_safe_is_a_sentence(tmp_path, monkeypatch, number):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError) as caught:
        Store(tmp_path).get_or_make(key(1), lambda: block(1))
    assert f"cannot be written ({os.strerror(number)}): free space there" in str(caught.value)
    assert list(tmp_path.glob("*.safetensors*")) == []


def test_a_checkpoint_that_finds_the_disk_full_is_a_sentence_and_keeps_the_epoch_before(tmp_path):
    file, wide = tmp_path / "checkpoint", nn.Sequential(nn.Flatten(), nn.Linear(16, 4000), nn.Linear(4000, 2))
    file.write_bytes(b"as it was")
    receive, send = fork.Pipe(duplex=False)
    child(
        sentence_under_a_limit, lambda: fit(wide, images(), cross_entropy, RECIPE, checkpoint=file), send
    ).join()
    assert receive.recv().startswith(f"{file} cannot be written (File too large): free space there")
    assert file.read_bytes() == b"as it was" and [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


STAY = """
import os, signal, sys
from causalnb import processes

def stay(pipe):
    with open(pipe, "w") as file:
        file.write(f"{os.getpid():09}")
    signal.pause()

if __name__ == "__main__":
    processes.map(stay, sys.argv[1:] * 2, workers=2)
"""


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "program.py").write_text(STAY)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", tmp_path / "pipe"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    pipe = os.open(tmp_path / "pipe", os.O_RDWR)
    workers = [os.pidfd_open(int(ready(pipe) and os.read(pipe, 9))) for _ in range(2)]
    parent.kill()
    parent.wait()
    assert all(ready(worker) for worker in workers)  # a process's descriptor is readable once it has ended


def ready(descriptor):
    return select.select([descriptor], [], [], 30)[0] != []


if __name__ == "__main__":
    torch.set_num_threads(1)
    fit(
        model(),
        images(),
        cross_entropy,
        RECIPE,
        checkpoint=Path(sys.argv[1]),
        evaluate=lambda now: print("an epoch", flush=True) or 0.0,
    )
