"""Measurement of time in turns, memory, growth, lower bounds of the time, and its shares."""

from __future__ import annotations

import cProfile
import ctypes
import multiprocessing
import os
import pstats
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from _lib.comparisons import COMPARISONS
from _lib.jobs import Job, Work
from _lib.memory import peak_megabytes, resident_megabytes

# A job of at least three turns gets no further ones after so many seconds of its comparison.
PATIENCE = 15.0


def seconds_of(job: Job) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def time_in_turns(jobs: dict[str, Job], repeats: int) -> dict[str, list[float]]:
    """Seconds of each turn of jobs that have been called before."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    start = time.perf_counter()
    for turn in range(repeats):
        if turn >= 3 and time.perf_counter() - start > PATIENCE:
            break
        for name, job in jobs.items():
            seconds[name].append(seconds_of(job))
    return seconds


def growth(
    comparison: str, job: str, sizes: list[tuple[float, int]], threads: int, limit: float
) -> list[dict[str, float]]:
    """Time and memory of one job at growing sizes, in a process of its own.

    Parameters
    ----------
    sizes : list of (seconds, number of tracks)
        From small to large. It ends before the first that would take longer than the limit, going
        by the one before.
    limit : float
        Seconds.
    """
    # Forked off a process that has imported everything, by this path, and computed nothing.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_growth, comparison, job, sizes, threads, limit).result()


def _growth(
    comparison: str, job: str, sizes: list[tuple[float, int]], threads: int, limit: float
) -> list[dict[str, float]]:
    torch.set_num_threads(threads)
    _job(comparison, job, sizes[0])()  # imports and models
    points: list[dict[str, float]] = []
    for size in sizes:
        if points and points[-1]["time, s"] * size[0] * size[1] > limit * (
            points[-1]["seconds"] * points[-1]["tracks"]
        ):
            break
        function = _job(comparison, job, size)
        ctypes.CDLL(None).malloc_trim(0)  # else freed memory would be used again and not count
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        before = resident_megabytes("VmRSS")
        times = [seconds_of(function)]
        memory = peak_megabytes() - before
        if times[0] < 1.0:
            times += [seconds_of(function) for _ in range(2)]
        points.append(
            {
                "seconds": size[0],
                "tracks": size[1],
                "time, s": median(times),
                "memory, MB": memory,
            }
        )
    return points


def _job(comparison: str, job: str, size: tuple[float, int]) -> Job:
    jobs = COMPARISONS[comparison].make(*size)
    return {**jobs.ours, **jobs.references}[job]


def exponent(points: list[dict[str, float]], size: str, value: str) -> float | None:
    """Slope of a quantity over size, both logarithmic; None if there are too few points."""
    pairs = [(point[size], point[value]) for point in points if point[value] > 0]
    if len({x for x, _ in pairs}) < 2:
        return None
    return float(np.polyfit(*np.log(np.array(pairs)).T, 1)[0])


def floors(work: Work, products: float, threads: int) -> dict[str, float]:
    """Seconds that each kind of work alone would take at the rates of this machine."""
    return {
        "memory": work.n_bytes / copy_rate(threads),
        "FFT": sum(
            count * transform_seconds(n_fft, dtype, threads)
            for n_fft, dtype, count in work.transforms
        ),
        "matrix products": products / product_rate(work.dtype, threads),
    }


def count_products(job: Job) -> float:
    """Floating-point operations of the matrix products and convolutions of a job."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the work of other threads would not be counted
    try:
        with FlopCounterMode(display=False) as counter:
            job()
    finally:
        torch.set_num_threads(threads)
    return float(counter.get_total_flops())


@cache
def copy_rate(threads: int) -> float:
    """Bytes per second that are read or written by copying far more than the caches hold."""
    source = torch.zeros(2**26)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source), threads)


@cache
def product_rate(dtype: torch.dtype, threads: int) -> float:
    """Floating-point operations per second of a product of large matrices."""
    size = 2048
    matrix = torch.ones(size, size, dtype=dtype)
    return 2.0 * size**3 / _fastest(lambda: matrix @ matrix, threads)


@cache
def transform_seconds(n_fft: int, dtype: torch.dtype, threads: int) -> float:
    """Seconds of a real Fourier transform within a batch that the caches hold.

    That of one thread, shared out evenly: threads that meet after each batch are no limit.
    """
    batch = torch.ones(max(1, 2**18 // n_fft), n_fft, dtype=dtype)
    result = torch.fft.rfft(batch)
    return _fastest(lambda: torch.fft.rfft(batch, out=result), 1) / len(batch) / threads


def _fastest(job: Job, threads: int) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seconds: list[float] = []
        while len(seconds) < 10 or sum(seconds) < 0.1:
            seconds.append(seconds_of(job))
        return min(seconds)
    finally:
        torch.set_num_threads(before)


def rates(threads: int) -> dict[str, float]:
    """Rates of this machine for each kind of work."""
    single, double = torch.float32, torch.float64
    return {
        "threads": threads,
        "memory, GB/s": copy_rate(threads) / 1e9,
        "float32 products, Gflop/s": product_rate(single, threads) / 1e9,
        "float64 products, Gflop/s": product_rate(double, threads) / 1e9,
        "float32 FFT of 1024, Gflop/s": _transform_flops(1024)
        / 1e9
        / transform_seconds(1024, single, threads),
        "float64 FFT of 4096, Gflop/s": _transform_flops(4096)
        / 1e9
        / transform_seconds(4096, double, threads),
    }


def _transform_flops(n_fft: int) -> float:
    """Operations of a real transform, as they are usually counted."""
    return 2.5 * n_fft * float(np.log2(n_fft))


def busiest(job: Job, count: int = 3) -> list[dict[str, Any]]:
    """Operations that take the largest shares of the time of a job, on one thread.

    They are operations of torch, or functions of Python if those take less than half of the time.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            total = seconds_of(job)
        shares = {
            event.key.removeprefix("aten::"): event.self_cpu_time_total / 1e6 / total
            for event in profiled.key_averages()
        }
        if sum(shares.values()) < 0.5:
            profiler = cProfile.Profile()
            profiler.runcall(job)
            stats = pstats.Stats(profiler)
            shares = {
                _short_name(function): own / stats.total_tt  # type: ignore[attr-defined]
                for function, (_, _, own, _, _) in stats.stats.items()  # type: ignore[attr-defined]
            }
    finally:
        torch.set_num_threads(threads)
    largest = sorted(shares, key=shares.__getitem__, reverse=True)[:count]
    return [{"name": name, "share": shares[name]} for name in largest]


def _short_name(function: tuple[str, int, str]) -> str:
    file, _, name = function
    if file != "~":
        return f"{Path(file).stem}.{name}"
    # "<built-in method package.module.name>" or "<method 'name' of 'type' objects>"
    return name.strip("<{}>").split(" of ")[0].split()[-1].split(".")[-1].strip("'")
