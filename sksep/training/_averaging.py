"""Averaged weights: the running average of the weights over the steps of a training."""

from __future__ import annotations

from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor


class WeightAveraging(Callback):  # type: ignore[misc]
    """Keep a running average of the weights, and give it to the module when the training ends.

    Validation takes the average, too, so that the weights of the best epoch are averaged ones. The
    callback has to come after those that copy the weights when an epoch ends.

    Parameters
    ----------
    decay : float
        Share of the average that each step keeps, in (0, 1). It is smaller in the first steps,
        which are averaged over fewer.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin with the weights of the module."""
        self.averages_ = _copies(net.module_)
        self.n_steps_ = 0
        self.trained_: dict[str, Tensor] | None = None  # weights that validation puts aside

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Put the average in place before the first batch of a validation."""
        if not training and self.trained_ is None:
            self.trained_ = _copies(net.module_)
            net.module_.load_state_dict(self.averages_)

    @torch.no_grad()
    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Take the weights of a step into the average."""
        if not training:
            return
        self.n_steps_ += 1
        decay = min(self.decay, (1 + self.n_steps_) / (10 + self.n_steps_))
        for name, values in net.module_.state_dict().items():
            if values.is_floating_point():
                self.averages_[name].lerp_(values, 1.0 - decay)
            else:
                self.averages_[name].copy_(values)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Put the weights of the training back in place after a validation."""
        if self.trained_ is not None:
            net.module_.load_state_dict(self.trained_)
            self.trained_ = None

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Leave the average in the module, unless the best epoch's is there."""
        has_best = any(name == "best_weights" for name, _ in net.callbacks_)
        if not has_best:
            net.module_.load_state_dict(self.averages_)


def _copies(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: values.detach().clone() for name, values in module.state_dict().items()}
