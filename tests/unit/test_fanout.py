"""The same work on many hosts: within a limit, failures beside results, and an interrupt that ends all of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from bench.controller.fanout import Abandoned, each
from bench.errors import InputError, LabError


def nothing() -> None:
    pass


def test_every_answer_stands_by_its_name_in_the_order_of_the_hosts() -> None:
    work: dict[str, Callable[[], int]] = {"b": lambda: 2, "a": lambda: 1}
    assert list(each(work, 8, nothing).items()) == [("b", 2), ("a", 1)]


def test_a_host_that_fails_is_a_value_beside_the_others() -> None:
    error = LabError("b", "no route")

    def failing() -> int:
        raise error

    assert each({"a": lambda: 1, "b": failing, "c": lambda: 3}, 1, nothing) == {"a": 1, "b": error, "c": 3}


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_never_more_than_the_limit_are_at_work_and_all_of_it_is_used(limit: int) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1

    each({str(number): work for number in range(12)}, limit, nothing)
    assert most == min(limit, 12)


def test_a_bug_is_no_value() -> None:
    def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        each({"a": lambda: 1, "b": broken}, 2, nothing)


def test_a_wrong_file_is_a_value_too_for_the_caller_to_raise() -> None:
    def wrong() -> int:
        raise InputError("hosts.yaml:3: qemu: no such file")

    assert isinstance(each({"a": wrong}, 2, nothing)["a"], InputError)


def test_an_interrupt_stops_what_runs_drops_what_has_not_begun_and_goes_on() -> None:
    stopped, begun = threading.Event(), []

    def work(name: str) -> Callable[[], None]:
        def piece() -> None:
            begun.append(name)
            os.kill(os.getpid(), signal.SIGINT)
            assert stopped.wait(5)

        return piece

    with pytest.raises(KeyboardInterrupt):
        each({name: work(name) for name in "abc"}, 1, stopped.set)
    assert begun == ["a"]


def test_a_second_interrupt_leaves_without_waiting_for_what_was_told_to_end_at_once() -> None:
    begun, left, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert left.wait(5)
        ended.set()

    def press(moment: threading.Event) -> None:
        assert moment.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    stopped = threading.Event()
    for moment in (begun, stopped):
        threading.Thread(target=press, args=(moment,)).start()
    with pytest.raises(Abandoned):
        each({"a": work}, 1, stopped.set, left.set)
    assert ended.wait(5)


def test_an_interrupt_while_a_bug_ends_the_others_leaves_too() -> None:
    begun, left = threading.Event(), threading.Event()

    def broken() -> None:
        assert begun.wait(5)
        raise ZeroDivisionError

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def deaf() -> None:
        begun.set()
        assert left.wait(5)

    with pytest.raises(Abandoned) as caught:
        each({"a": broken, "b": deaf}, 2, stop, left.set)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_interrupts_are_exceptions_again_afterwards_and_ignored_ones_stay_ignored() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = each({"a": lambda: signal.getsignal(signal.SIGINT)}, 1, nothing)["a"]
    assert signal.getsignal(signal.SIGINT) is before
    assert seen is not before
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert each({"a": lambda: signal.getsignal(signal.SIGINT)}, 1, nothing)["a"] is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("turn", range(20))
def test_an_interrupt_at_the_very_start_is_none_that_hangs(turn: int) -> None:
    stopped = threading.Event()

    def piece() -> None:
        assert stopped.wait(5)

    def pressing() -> None:
        time.sleep(turn / 10_000)
        os.kill(os.getpid(), signal.SIGINT)
        piece()

    with pytest.raises(KeyboardInterrupt):
        each({"0": pressing, **{str(number): piece for number in range(1, 20)}}, 20, stopped.set)
    assert stopped.is_set()


def test_no_host_is_no_work() -> None:
    assert each({}, 4, nothing) == {}
