"""What the tests of the store share: a store, a value, and someone without root's rights."""

import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from causalnb import UserError
from causalnb.store import Store

NOBODY = 65534
fork = multiprocessing.get_context("fork")


@pytest.fixture
def kept(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def anyones():
    """A folder that everyone may reach and change."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    for place, _, _ in os.walk(folder):
        os.chmod(place, 0o700)
    shutil.rmtree(folder)


@pytest.fixture
def without_rights():
    """Run `work` in a child that has given up root's rights: what it returns, or the sentence it is refused
    with.
    """
    if os.name != "posix":
        pytest.skip("rights are posix's")

    def outcome(work):
        receive, send = fork.Pipe(duplex=False)

        def give_up_and_work():
            torch.set_num_threads(1)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            try:
                send.send(work())
            except UserError as error:
                send.send(f"refused: {error}")
            except BaseException as error:
                send.send(f"not a sentence: {error!r}")

        process = fork.Process(target=give_up_and_work)
        process.start()
        assert receive.poll(60)
        found = receive.recv()
        process.join()
        return found

    return outcome
