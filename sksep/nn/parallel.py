"""Coarse parallelism on a CPU: each thread takes whole blocks of work.

torch shares out every single operation among its threads, and waits for all of them after each. For
operations that last microseconds this gains little on idle cores, and on busy ones the waiting
takes a hundred times longer than the work. Here each thread does its blocks from beginning to end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import Any

import torch

# map(function, items) -> list of results
ParallelMap = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]


def count_workers(device: torch.device, n_tasks: int) -> int:
    """Number of threads to use: as many as torch would use, but not more than there are tasks."""
    if device.type != "cpu" or not _threads_have_own_limits():
        return 1
    return max(1, min(torch.get_num_threads(), n_tasks))


def parallel_map(n_workers: int) -> ParallelMap:
    """Provide a `map` whose calls run on threads of their own, without gradients.

    Parameters
    ----------
    n_workers : int
        Number of threads, from `count_workers`. A single one is the calling thread.

    Returns
    -------
    callable
        ``map(function, items)``; it returns the list of results when all calls are done.

    Examples
    --------
    >>> parallel_map(2)(torch.sum, [torch.ones(2), torch.ones(3)])
    [tensor(2.), tensor(3.)]
    """
    if n_workers == 1:
        return in_turn
    pool = _pool(n_workers)
    return lambda function, items: list(pool.map(lambda item: _call(function, item), items))


def in_turn(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Do the same as the map of `parallel_map`, one call after the other."""
    return [_call(function, item) for item in items]


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    with torch.inference_mode():  # the mode of the caller is not inherited
        return function(item)


# The threads are kept, since the first transforms of new threads are slow.
@lru_cache(maxsize=1)
def _pool(n_workers: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="sksep")
    n_threads = torch.get_num_threads()
    ready = Barrier(n_workers)
    list(pool.map(_work_alone, [ready] * n_workers))
    # The limit that the workers set holds for them alone, but threads that other code starts from
    # now on would inherit it.
    torch.set_num_threads(n_threads)
    return pool


def _work_alone(ready: Barrier) -> None:
    """Limit torch to one thread within the calling one, and let every worker do so once."""
    torch.get_num_threads()  # the setup of its first call would undo the limit
    torch.set_num_threads(1)
    ready.wait()


if hasattr(os, "register_at_fork"):
    # A forked process has none of the threads of its parent.
    os.register_at_fork(after_in_child=_pool.cache_clear)


@lru_cache(maxsize=1)
def _threads_have_own_limits() -> bool:
    return "OpenMP" in torch.__config__.parallel_info().rsplit("ATen parallel backend:", 1)[-1]
