"""Coarse parallelism on a CPU: each thread takes whole blocks of work.

torch shares out every single operation among its threads, and waits for all of them after each. For
operations that last microseconds this gains little on idle cores, and on busy ones the waiting
takes a hundred times longer than the work. Here each thread does its blocks from beginning to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from threading import Barrier
from typing import Any

import torch

# map(function, items) -> list of results
ParallelMap = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]


def count_workers(device: torch.device, n_tasks: int) -> int:
    """Threads to work with: as many as torch would use, where there are tasks for all of them."""
    if device.type != "cpu" or not _threads_have_own_limits():
        return 1
    return max(1, min(torch.get_num_threads(), n_tasks))


def in_turn(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Do without parallelism what the map of `workers` does."""
    return [_call(function, item) for item in items]


@contextmanager
def workers(n_workers: int) -> Iterator[ParallelMap]:
    """Provide a `map` whose calls run on threads of their own, without gradients.

    Parameters
    ----------
    n_workers : int
        From `count_workers`. A single one is the calling thread.

    Yields
    ------
    callable
        ``map(function, items)``; it returns the list of results when all calls are done.

    Examples
    --------
    >>> with workers(2) as in_parallel:
    ...     in_parallel(torch.sum, [torch.ones(2), torch.ones(3)])
    [tensor(2.), tensor(3.)]
    """
    if n_workers == 1:
        yield in_turn
        return
    with ThreadPoolExecutor(n_workers) as pool:
        ready = Barrier(n_workers)
        n_threads = torch.get_num_threads()
        list(pool.map(_work_alone, [ready] * n_workers))
        # The limit that the workers set is theirs alone, but threads that other code starts from
        # now on would inherit it.
        torch.set_num_threads(n_threads)
        yield lambda function, items: list(pool.map(lambda item: _call(function, item), items))


def _work_alone(ready: Barrier) -> None:
    """Limit torch to one thread within the calling one, and let every worker do so once."""
    torch.get_num_threads()  # what it sets up at its first call would undo the limit
    torch.set_num_threads(1)
    ready.wait()


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    with torch.inference_mode():  # the mode of the caller is not inherited
        return function(item)


@lru_cache(maxsize=1)
def _threads_have_own_limits() -> bool:
    return "OpenMP" in torch.__config__.parallel_info().rsplit("ATen parallel backend:", 1)[-1]
