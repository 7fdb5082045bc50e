import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from causalnb import UserError, processes


def square(number):
    return number**2


def slow_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number


def surroundings(item):
    import torch

    return os.getpid(), torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def inverse(number):
    return 1 / number


def refuse(item):
    raise UserError(f"{item} is not possible.")


def leave(item):
    os._exit(7)


def nested(number):
    return processes.map(square, range(number), workers=2), os.getpid()


def ones(n):
    import torch

    return {"x": torch.ones(n)}


class Stubborn(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def be_stubborn(number):
    raise Stubborn(number, "more")


def meet(pipe, writes):
    """Go on when the other end of the pipe is open too."""
    open(pipe, "w" if writes else "r").close()


def fail_as_it_meets(pipe, number):
    meet(pipe, number == 0)
    raise ValueError(number)


def end_after_the_other_failed(folder, number):
    meet(folder / "pipe", number == 0)
    if number == 0:
        raise ValueError(number)
    start = time.process_time()
    while time.process_time() - start < 0.3:
        pass
    (folder / "whole").touch()


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_answers_come_in_the_order_of_the_items():
    assert processes.map(slow_first, range(6), workers=2) == list(range(6))


def test_each_worker_is_another_process_with_one_thread():
    answers = processes.map(surroundings, range(4), workers=2)
    assert all(threads == 1 and variable == "1" and pid != os.getpid() for pid, threads, variable in answers)


def test_one_item_or_one_worker_needs_no_process():
    assert processes.map(square, [], workers=4) == []
    assert processes.map(partial(pow, exp=2), [3], workers=4) == [9]
    here = []
    assert processes.map(here.append, [1, 2], workers=1) == [None, None] and here == [1, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_surfaces_with_its_item(workers):
    with pytest.raises(ZeroDivisionError) as caught:
        processes.map(inverse, [1, 0, 2], workers=workers)
    assert caught.value.__notes__ == ["while at work on 0"]


def test_a_user_error_stays_its_sentence():
    with pytest.raises(UserError) as caught:
        processes.map(refuse, ["eps = -1", "eps = 2"], workers=2)
    assert str(caught.value) == "eps = -1 is not possible."


def test_of_two_failures_the_first_in_the_items_order_surfaces(pipe):
    with pytest.raises(ValueError) as caught:
        processes.map(partial(fail_as_it_meets, pipe), [1, 0], workers=2)
    assert caught.value.args == (1,)


def test_what_had_begun_before_a_failure_ends(pipe):
    with pytest.raises(ValueError):
        processes.map(partial(end_after_the_other_failed, pipe.parent), [0, 1], workers=2)
    assert (pipe.parent / "whole").exists()


def test_the_traceback_in_the_worker_is_told():
    with pytest.raises(ZeroDivisionError) as caught:
        processes.map(inverse, [0, 0], workers=2)
    assert "return 1 / number" in str(caught.value.__cause__)


def test_an_exception_that_cannot_be_sent_is_told_by_its_name_and_text():
    with pytest.raises(RuntimeError, match="Stubborn: 1 and more\nwhile at work on 1$"):
        processes.map(be_stubborn, [1, 2], workers=2)


def test_an_item_or_an_answer_that_cannot_be_sent_is_an_error_and_no_wait():
    with pytest.raises(TypeError, match="cannot pickle"):
        processes.map(square, [1, 2, 3, threading.Lock()], workers=2)
    with pytest.raises(TypeError, match="cannot pickle"):
        processes.map(lambda _: threading.Lock(), [1, 2], workers=2)


def test_a_worker_that_dies_is_said_and_the_next_call_has_a_new_pool():
    with pytest.raises(UserError, match="^A worker process ended early"):
        processes.map(leave, range(2), workers=2)
    assert processes.map(square, range(3), workers=2) == [0, 1, 4]


def test_tensors_travel_by_value():
    answers = processes.map(ones, [3, 2_000_000], workers=2)
    assert [len(answer["x"]) for answer in answers] == [3, 2_000_000] and not answers[1]["x"].is_shared()


def test_arrays_travel_by_value_and_nothing_lies_in_shared_memory():
    arrays = processes.map(partial(np.full, fill_value=1.0), [3, 2_000_000], workers=2)
    assert [type(array) for array in arrays] == [np.ndarray, np.ndarray]
    assert list(Path("/dev/shm").glob(f"joblib*_{os.getpid()}_*")) == []


def test_functions_of_a_notebook_or_of_a_script_without_a_guard_will_do():
    script = (
        "from causalnb import processes\n"
        "def half(x): return x / 2\n"
        "print(processes.map(half, [1, 2], workers=2), processes.map(lambda x: half(x), [4, 6], workers=2))"
    )
    ran = subprocess.run(
        [sys.executable, "-"],
        input=script,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("[0.5, 1.0] [2.0, 3.0]\n", "")


def test_a_worker_starts_no_workers():
    for answer, pid in processes.map(nested, [2, 3], workers=2):
        assert answer == [0, 1, 4][: len(answer)] and pid != os.getpid()
