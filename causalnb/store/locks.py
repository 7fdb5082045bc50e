"""One maker at a time for each entry, in all processes and, where the disk can, on all machines. Nothing is
known here of what is made.

Where a disk has no flock, a lock is a file that exists: a killed holder on another machine leaves it behind.
So its time is renewed while the holder lives, and one that has long been silent is not waited for.
"""

import errno
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from causalnb import UserError, console, files
from causalnb.store.sealed import HINT

PATIENCE = 3.0  # seconds of waiting for another process before it is said
BEAT = 15.0  # seconds between two signs of life
SILENCE = 180.0  # seconds without one after which a holder is taken for gone, or unable to say that it lives
_NO_FLOCK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)  # filelock itself sees to ENOSYS


@contextmanager
def alone(file: Path, what: str) -> Iterator[None]:
    """Inside, no other process holds `file`; who waits for it is told who makes `what`.

    A holder that is gone without a trace, on another machine and a disk without flock, is a UserError.
    """
    with files.refusals(file, hint=HINT):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquired(file, what)
    try:
        with _signed(lock):
            yield
    finally:
        lock.release()


def _acquired(file: Path, what: str) -> BaseFileLock:
    lock: BaseFileLock = FileLock(file)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="flock not supported")
            return lock.acquire(timeout=0).lock
    except Timeout:
        pass
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        lock = SoftFileLock(file.with_suffix(".soft"))
    return _waited_for(lock, what)


def _waited_for(lock: BaseFileLock, what: str) -> BaseFileLock:
    """The lock, once its holder lets it go; where only a file says that there is one, it must show life."""
    file, said, renewed, since = Path(lock.lock_file), False, 0.0, time.monotonic()
    while True:
        try:
            return lock.acquire(timeout=BEAT if said else PATIENCE).lock
        except Timeout:
            holder = _holder(file)
        if not said:
            console.say(
                f"{holder[0].upper()}{holder[1:]} is making {what}: waiting for it ({file} is its lock)."
            )
            said = True
        if (now := _renewed(file)) != renewed:
            renewed, since = now, time.monotonic()
        elif isinstance(lock, SoftFileLock) and time.monotonic() - since >= SILENCE:
            raise UserError(
                f"{what} is not made here: {holder} has its lock, {file}, and has given no sign of life for "
                f"{SILENCE:.0f} s. If it has ended, remove this file and run again; if it lives, run again "
                "when it is done."
            )


@contextmanager
def _signed(lock: BaseFileLock) -> Iterator[None]:
    """While inside, the lock's file says who holds it, and where it is nothing but a file, that its holder
    lives.
    """
    file, ended = Path(lock.lock_file), threading.Event()
    if not isinstance(lock, SoftFileLock):  # which writes this itself
        with suppress(OSError):  # in place: a renamed file would be another lock
            file.write_text(f"{os.getpid()}\n{platform.node()}\n")
        yield
        return

    def renew() -> None:
        while not ended.wait(BEAT):
            with suppress(OSError):
                os.utime(file)

    sign = threading.Thread(target=renew, daemon=True)
    sign.start()
    try:
        yield
    finally:
        ended.set()
        sign.join()


def _holder(file: Path) -> str:
    """Who holds a lock, by what its file says."""
    with suppress(OSError, ValueError):
        number, host, *_ = file.read_text(errors="replace")[:300].split("\n")
        return f"process {int(number)} on {console.plain(host, 80)}"
    return "another process"


def _renewed(file: Path) -> float:
    with suppress(OSError):
        return file.stat().st_mtime
    return 0.0
