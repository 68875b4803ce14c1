"""Agreement of estimated masks with true ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.metrics._validation import decibel_ratio
from sksep.utils._arrays import DoubleArray
from sksep.utils._validation import check_choice, check_number

_POOLINGS = ("bins", "chunks")


def iou(
    true_masks: Any,
    estimated_masks: Any,
    *,
    average: str = "both",
    pooling: str = "bins",
    threshold: float = 0.5,
) -> float:
    """Intersection over union of binary masks.

    A bin belongs to the vocals if the mask exceeds `threshold`, otherwise to the accompaniment. The
    IoU of a class is the number of bins that both masks assign to it, divided by the number of bins
    that at least one of them assigns to it.

    Parameters
    ----------
    true_masks, estimated_masks : array of shape (..., n_frames, n_bins) or sequence of such
        Vocal masks: one chunk, many chunks, or a collection with such an array per track.
    average : {"both", "vocals"}, default="both"
        The mean over vocals and accompaniment, or the vocals alone.
    pooling : {"bins", "chunks"}, default="bins"
        Whether to count over the bins of all chunks at once, or to take the mean of the IoU of
        each chunk.
    threshold : float, default=0.5
        Threshold in [0, 1). The default fits masks of True and False, or of 0 and 1.

    Returns
    -------
    float
        IoU in [0, 1]. A class that occurs in neither mask has no IoU: with "both", the other class
        alone counts; with "vocals", chunks without vocals in either mask are left out of the mean
        over chunks. NaN if nothing is left.

    Raises
    ------
    ValueError
        If shapes differ or have fewer than two axes, masks are empty or hold NaN or infinity, or
        an option is unknown.
    TypeError
        If the dtype is not real or boolean.

    Warns
    -----
    UserWarning
        If the result is NaN.

    Examples
    --------
    >>> from sksep.metrics import iou
    >>> true, estimated = [[1, 1, 0, 0]], [[1, 0, 0, 0]]
    >>> iou(true, estimated, average="vocals")
    0.5
    >>> print(f"{iou(true, estimated):.4f}")  # accompaniment: 2 / 3
    0.5833
    """
    check_choice("average", average, ("both", "vocals"))
    check_choice("pooling", pooling, _POOLINGS)
    check_number("threshold", threshold, 0.0, 1.0, include_high=False)
    counts = []
    for true, estimated in _mask_pairs(true_masks, estimated_masks):
        true_vocals, estimated_vocals = true > threshold, estimated > threshold
        both = (true_vocals & estimated_vocals).sum(axis=(1, 2))
        either = (true_vocals | estimated_vocals).sum(axis=(1, 2))
        n_bins = true[0].size
        # The accompaniments intersect in the bins that neither mask assigns to the vocals.
        counts.append(np.stack([both, either, n_bins - either, n_bins - both], axis=1))
    table = np.concatenate(counts).astype(np.float64)
    if pooling == "bins":
        table = table.sum(axis=0, keepdims=True)
    intersections, unions = table[:, ::2], table[:, 1::2]
    if average == "vocals":
        intersections, unions = intersections[:, :1], unions[:, :1]
    present = unions > 0
    if not present.any():
        warnings.warn(
            "IoU is undefined (NaN): no mask gives any bin to the vocals.",
            UserWarning,
            stacklevel=2,
        )
        return float("nan")
    ratios = np.divide(intersections, unions, out=np.zeros_like(unions), where=present)
    n_classes = present.sum(axis=1)
    has_class = n_classes > 0
    return float((ratios.sum(axis=1)[has_class] / n_classes[has_class]).mean())


def psnr(
    true_masks: Any,
    estimated_masks: Any,
    *,
    data_range: float = 1.0,
    pooling: str = "bins",
) -> float:
    """Peak signal to noise ratio of proportion masks, in dB.

    ``10 log10(data_range ** 2 / mean squared error)``.

    Parameters
    ----------
    true_masks, estimated_masks : array of shape (..., n_frames, n_bins) or sequence of such
        Masks: one chunk, many chunks, or a collection with such an array per track.
    data_range : float, default=1.0
        Distance between the least and the greatest possible value of a mask.
    pooling : {"bins", "chunks"}, default="bins"
        Whether the squared error is averaged over the bins of all chunks before the logarithm,
        or the ratio of each chunk after it.

    Returns
    -------
    float
        PSNR in dB; infinite if all masks agree exactly. With "chunks", chunks that agree exactly
        (as silent ones may) are left out of the mean unless all chunks agree.

    Raises
    ------
    ValueError
        If shapes differ or have fewer than two axes, masks are empty or hold NaN or infinity,
        `data_range` is not positive, or an option is unknown.
    TypeError
        If the dtype is not real or boolean.

    Examples
    --------
    >>> from sksep.metrics import psnr
    >>> print(f"{psnr([[0.5, 0.5]], [[0.4, 0.6]]):.2f}")
    20.00
    """
    check_choice("pooling", pooling, _POOLINGS)
    check_number("data_range", data_range, 0.0, include_low=False)
    errors: list[DoubleArray] = []
    sizes = []
    for true, estimated in _mask_pairs(true_masks, estimated_masks):
        error: DoubleArray = np.mean(np.square(true - estimated), axis=(1, 2), dtype=np.float64)
        errors.append(error)
        sizes.append(np.full(len(error), true[0].size))
    chunk_errors = np.concatenate(errors)
    if pooling == "bins":
        return decibel_ratio(data_range**2, np.average(chunk_errors, weights=np.concatenate(sizes)))
    chunk_errors = chunk_errors[chunk_errors > 0]
    if not len(chunk_errors):
        return float("inf")
    return float(np.mean(10 * np.log10(data_range**2 / chunk_errors)))


def _mask_pairs(true_masks: Any, estimated_masks: Any) -> list[tuple[DoubleArray, DoubleArray]]:
    """Pairs of equally shaped float arrays (n_chunks, n_frames, n_bins), one per track."""
    true_list = _mask_list(true_masks, "true_masks")
    estimated_list = _mask_list(estimated_masks, "estimated_masks")
    if len(true_list) != len(estimated_list):
        raise ValueError(
            f"true_masks has {len(true_list)} tracks but estimated_masks has "
            f"{len(estimated_list)}; they must correspond one to one."
        )
    pairs = []
    for (name, true), (estimated_name, estimated) in zip(true_list, estimated_list, strict=True):
        if true.shape != estimated.shape:
            raise ValueError(
                f"{name} and {estimated_name} must have equal shapes, got {true.shape} and "
                f"{estimated.shape}."
            )
        shape = (-1, *true.shape[-2:])
        pairs.append((true.reshape(shape), estimated.reshape(shape)))
    return pairs


def _mask_list(masks: Any, name: str) -> list[tuple[str, DoubleArray]]:
    """Named float arrays: one for an array of masks, one per track for a collection of them."""
    is_collection = isinstance(masks, (list, tuple)) and any(
        isinstance(mask, np.ndarray) and mask.ndim > 1 for mask in masks
    )
    if not is_collection and np.asarray(masks).dtype.kind != "O":
        return [(name, _check_mask(np.asarray(masks), name))]
    if not len(masks):
        raise ValueError(f"{name} holds no masks; at least one is needed.")
    return [
        (f"{name}[{index}]", _check_mask(np.asarray(mask), f"{name}[{index}]"))
        for index, mask in enumerate(masks)
    ]


def _check_mask(mask: npt.NDArray[Any], name: str) -> DoubleArray:
    if mask.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {mask.dtype}; masks are real numbers or booleans.")
    if mask.ndim < 2:
        raise ValueError(
            f"{name} has {mask.ndim} dimensions; masks have shape (..., n_frames, n_bins)."
        )
    if mask.size == 0:
        raise ValueError(f"{name} is empty (shape {mask.shape}).")
    if not np.isfinite(mask).all():
        raise ValueError(f"{name} contains NaN or infinity.")
    # Booleans and integers become float64; float32 masks keep their type and memory.
    converted: DoubleArray = mask if mask.dtype.kind == "f" else mask.astype(np.float64)
    return converted
