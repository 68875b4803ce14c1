"""Parallel calls: their order, limits of threads, modes and errors."""

import multiprocessing
import sys
import threading

import pytest
import torch

from sksep.nn.parallel import count_workers, in_turn, parallel_map


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_as_many_workers_as_threads_or_tasks(three_threads):
    cpu = torch.device("cpu")
    assert [count_workers(cpu, n_tasks) for n_tasks in (0, 1, 2, 3, 100)] == [1, 1, 2, 3, 3]
    assert count_workers(torch.device("meta"), 100) == 1


def test_each_worker_has_one_thread_and_the_caller_keeps_its_own(three_threads):
    together = threading.Barrier(3, timeout=30)

    def describe(item):
        together.wait()  # three calls at the same time need three workers
        return item, threading.get_ident(), torch.get_num_threads(), torch.is_grad_enabled()

    for _ in range(2):
        results = parallel_map(3)(describe, range(6))
        assert [item for item, *_ in results] == list(range(6))
        assert len({thread for _, thread, *_ in results}) == 3
        assert {tuple(limits) for _, _, *limits in results} == {(1, False)}
    assert torch.get_num_threads() == 3
    assert torch.is_grad_enabled()
    inherited = []
    thread = threading.Thread(target=lambda: inherited.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert inherited == [3]


def test_one_worker_is_the_caller():
    assert parallel_map(1) is in_turn
    assert in_turn(lambda _: threading.get_ident(), [0]) == [threading.get_ident()]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_errors_reach_the_caller(n_workers):
    before = torch.get_num_threads()
    in_parallel = parallel_map(n_workers)
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda item: 1 // item, [1, 0, 1])
    assert in_parallel(lambda item: item + 1, [1, 2]) == [2, 3]
    assert torch.get_num_threads() == before


@pytest.mark.skipif(sys.platform != "linux", reason="processes fork safely on Linux alone")
def test_a_forked_process_starts_threads_of_its_own():
    def double(item):
        return 2 * item

    def child(connection):
        connection.send(parallel_map(2)(double, [1, 2, 3]))

    assert parallel_map(2)(double, [1]) == [2]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(sender,))
    process.start()
    assert receiver.poll(60) and receiver.recv() == [2, 4, 6]
    process.join(60)
    assert process.exitcode == 0
