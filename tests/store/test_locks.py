import errno
import fcntl
import os
import subprocess
import sys
import threading
import warnings

import pytest
from filelock import SoftFileLock, Timeout
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from causalnb import UserError, store
from causalnb.store import locks

FAR = "4711\nfar-away\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "locks" / "numbers.lock"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for name in ("PATIENCE", "BEAT", "SILENCE"):
        monkeypatch.setattr(locks, name, 0.01)


@pytest.fixture
def refuses(monkeypatch):
    """A disk whose flock answers with an error."""

    def answer(number):
        def flock(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return answer


def left(file, text):
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


def test_a_lock_says_who_holds_it(file):
    with locks.alone(file, "numbers"):
        number, host, _ = file.read_text().split("\n")
        assert (int(number), host) == (os.getpid(), os.uname().nodename)


def test_a_lock_that_another_machine_left_without_flock_is_said_and_not_waited_for_for_ever(
    file, refuses, capsys
):
    refuses(errno.ENOSYS)
    left(file, FAR)
    with pytest.raises(UserError) as caught, locks.alone(file, "numbers"):
        raise AssertionError("taken from its holder")
    assert str(caught.value) == (
        f"numbers is not made here: process 4711 on far-away has its lock, {file}, and has given no sign of "
        "life for 0 s. If it has ended, remove this file and run again; if it lives, run again when it is done."
    )
    assert file.read_text() == FAR
    assert capsys.readouterr().err == (
        f"Process 4711 on far-away is making numbers: waiting for it ({file} is its lock).\n"
    )
    file.unlink()  # as the sentence says
    with locks.alone(file, "numbers"):
        assert file.exists()


def test_what_a_store_wants_to_make_is_not_made_while_another_machine_seems_to_make_it(tmp_path, refuses):
    refuses(errno.ENOSYS)
    kept, key = store.Store(tmp_path), {"what": "numbers"}
    left(tmp_path / "locks" / f"numbers-{store.key_digest(key)[:16]}.lock", FAR)
    with pytest.raises(UserError, match="^numbers is not made here: process 4711 on far-away has its lock, "):
        kept.get_or_make(key, lambda: pytest.fail("made twice"))


def test_a_holder_on_another_machine_that_shows_life_is_waited_for(file, refuses, monkeypatch):
    refuses(errno.ENOSYS)
    left(file, FAR)
    signs = iter(range(1, 9))

    def renewed(path):
        now = next(signs)
        if now == 8:
            path.unlink()
        return float(now)

    monkeypatch.setattr(locks, "SILENCE", 0.0)  # any two looks that see the same would be the end
    monkeypatch.setattr(locks, "_renewed", renewed)
    with locks.alone(file, "numbers"):
        assert next(signs, None) is None


def test_a_holder_without_flock_shows_that_it_lives_until_it_is_done(file, refuses, monkeypatch):
    refuses(errno.ENOSYS)
    shown, utime, threads = threading.Semaphore(0), os.utime, threading.active_count()
    monkeypatch.setattr(os, "utime", lambda path: (utime(path), shown.release()))
    with locks.alone(file, "numbers"):
        os.utime(file)
        for _ in range(3):
            assert shown.acquire(timeout=30)
    assert not file.exists() and threading.active_count() == threads


def test_a_dead_process_of_this_machine_is_not_waited_for(file, refuses):
    refuses(errno.ENOSYS)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left(file, f"{child.pid}\n{os.uname().nodename}\n")
    with locks.alone(file, "numbers"):
        assert file.read_text().startswith(f"{os.getpid()}\n")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_disk_without_locks_has_one_maker_all_the_same_and_no_warning(file, refuses, number):
    refuses(number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with locks.alone(file, "numbers"):
            own = file if number == errno.ENOSYS else file.with_suffix(".soft")
            assert own.read_text().startswith(f"{os.getpid()}\n")
            with pytest.raises(Timeout):
                SoftFileLock(own).acquire(timeout=0)
    assert not own.exists()


def test_a_disk_that_refuses_a_lock_is_a_sentence(file, refuses):
    refuses(errno.EIO)
    with (
        pytest.raises(UserError, match=r"numbers.lock cannot be written \(Input/output error\)"),
        locks.alone(file, "numbers"),
    ):
        pass


def test_an_exception_inside_lets_the_lock_go(file):
    with pytest.raises(ZeroDivisionError), locks.alone(file, "numbers"):
        raise ZeroDivisionError
    with locks.alone(file, "numbers"):
        pass


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=40))
@example(b"")
@example(b"4711\n\x1b[2J\n")
@example(b"-1\nhost\n")
def test_whatever_a_lock_file_holds_the_lock_is_taken_or_a_sentence_says_where_it_is(tmp_path, content):
    file = tmp_path / "any.lock"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "no flock")))
        file.write_bytes(content)
        try:
            with locks.alone(file, "numbers"):
                assert file.read_text().startswith(f"{os.getpid()}\n")
        except UserError as error:
            assert str(file) in str(error) and str(error).isprintable()
    file.unlink(missing_ok=True)


def test_with_flock_what_a_dead_holder_left_in_the_file_does_not_count(file):
    left(file, FAR)
    with locks.alone(file, "numbers"):
        assert file.read_text() != FAR
