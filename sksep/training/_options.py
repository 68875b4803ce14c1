"""Devices, precisions, optimizers and schedules by their names."""

from __future__ import annotations

import inspect
import platform
import warnings
from typing import Any, TypeVar

import torch
from torch import nn

from sksep.utils._validation import check_choice

_Module = TypeVar("_Module", bound=nn.Module)

OPTIMIZERS = {
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
# Optimizers whose step torch can fuse into few CUDA kernels. It cannot fuse that of Adagrad.
_FUSED_ON_CUDA = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
SCHEDULES = (None, "cosine", "one_cycle")
PRECISIONS = ("auto", "float32", "bfloat16")
_X86 = ("x86_64", "AMD64")


def resolve_device(device: str) -> torch.device:
    """The device of a name. "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises
    ------
    ValueError
        If the device is not available.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda' or 'mps'; got {device!r}."
        ) from error
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (resolved.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(resolved.type, False):
        raise ValueError(f"device {device!r} is not available here; use 'auto' or 'cpu'.")
    return resolved


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """torch.float32 or torch.bfloat16. "auto" is bfloat16 if the hardware has units for it."""
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported()
        else:
            # Matrix units. With AVX-512 alone it is slower than float32 (see docs/measurements.md).
            supported = getattr(torch.cpu, "_is_amx_tile_supported", bool)  # not in older torch
            fast = device.type == "cpu" and supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.float32 if precision == "float32" else torch.bfloat16


def is_emulated(precision: str, device: torch.device) -> bool:
    """Whether the processor has no instructions for a precision, so that it is slow.

    That is bfloat16 on an x86 CPU with neither AVX512-BF16 nor AMX.
    """
    if precision != "bfloat16" or device.type != "cpu" or platform.machine() not in _X86:
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return not any(getattr(torch.cpu, name, lambda: True)() for name in checks)


def warn_if_emulated(precision: str, device: torch.device) -> None:
    """Warn if a precision was asked for that the processor has no instructions for.

    Warns
    -----
    UserWarning
        If it is bfloat16 on an x86 CPU with neither AVX512-BF16 nor AMX.
    """
    if is_emulated(precision, device):
        warnings.warn(
            "This processor has no instructions for bfloat16, in which training can take ten times "
            "as long as in float32. Set precision='auto' or 'float32'.",
            UserWarning,
            stacklevel=2,
        )


def resolve_optimizer(optimizer: str | type) -> type:
    """A class of torch optimizers by its name; classes pass through.

    Raises
    ------
    TypeError, ValueError
        If there is no such optimizer, or its steps evaluate a batch several times, as LBFGS does.
    """
    if isinstance(optimizer, str):
        return OPTIMIZERS[check_choice("optimizer", optimizer, tuple(OPTIMIZERS))]
    if isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer):
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise ValueError(
                f"optimizer={optimizer.__name__} evaluates a batch several times in one step, but "
                f"augmentation and dropout vary it each time; use one of {tuple(OPTIMIZERS)}."
            )
        return optimizer
    raise TypeError(
        f"optimizer must be one of {tuple(OPTIMIZERS)} or a torch optimizer class; "
        f"got {optimizer!r}."
    )


def device_options(
    optimizer: type, device: torch.device, net_params: dict[str, Any]
) -> dict[str, Any]:
    """Parameters of the net that make training faster on a device and change nothing else."""
    if device.type != "cuda":
        return {}
    options = {"iterator_train__pin_memory": True, "iterator_valid__pin_memory": True}
    chosen = {"optimizer__foreach", "optimizer__differentiable"} & set(net_params)
    fusible = optimizer in _FUSED_ON_CUDA and "fused" in inspect.signature(optimizer).parameters
    if fusible and not chosen:
        options["optimizer__fused"] = True
    return options


def on_device(module: _Module, device: torch.device) -> _Module:
    """A module that was moved to a device, in the order of memory that its convolutions prefer."""
    module.to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def schedule_callback(schedule: str | None, lr: float, n_batches: int) -> Any:
    """The skorch callback that changes the learning rate at each batch; None without a schedule."""
    if schedule is None:
        return None
    from skorch.callbacks import LRScheduler

    # One step more than there are batches, since schedulers raise an error after their end. A warm
    # start begins the schedule anew, while skorch would resume it from the history.
    if schedule == "cosine":
        return LRScheduler(
            policy=torch.optim.lr_scheduler.CosineAnnealingLR,
            T_max=n_batches + 1,
            last_epoch=-1,
            step_every="batch",
        )
    n_rising = max(1, round(0.1 * n_batches))  # a whole number, so that one batch has the peak
    return LRScheduler(
        policy=torch.optim.lr_scheduler.OneCycleLR,
        max_lr=lr,
        total_steps=n_batches + 1,
        pct_start=(n_rising + 1) / (n_batches + 1),
        # Otherwise optimizers without momentum would get one, and steps ten times as long.
        cycle_momentum=False,
        last_epoch=-1,
        step_every="batch",
    )
