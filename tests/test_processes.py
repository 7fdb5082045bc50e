import os
import time
from functools import partial

import pytest
import torch

from causalnb import UserError, processes


def square(number):
    return number**2


def slow_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number


def surroundings(item):
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
    return {"x": torch.ones(n)}


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


def test_a_worker_that_dies_is_said_and_the_next_call_has_a_new_pool():
    with pytest.raises(UserError, match="^A worker process ended early"):
        processes.map(leave, range(2), workers=2)
    assert processes.map(square, range(3), workers=2) == [0, 1, 4]


def test_tensors_travel_by_value():
    answers = processes.map(ones, [3, 2_000_000], workers=2)
    assert [len(answer["x"]) for answer in answers] == [3, 2_000_000] and not answers[1]["x"].is_shared()


def test_a_worker_starts_no_workers():
    for answer, pid in processes.map(nested, [2, 3], workers=2):
        assert answer == [0, 1, 4][: len(answer)] and pid != os.getpid()
