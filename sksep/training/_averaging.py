"""Averaged weights: the running average of the weights over the steps of a training."""

from __future__ import annotations

from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn


class WeightAveraging(Callback):  # type: ignore[misc]
    """Keep a running average of the weights, and show it to everything but the training steps.

    The module holds the average from the first batch of a validation, or else from the end of an
    epoch, until the next epoch begins, and when the training ends. So the average is what is
    validated, and what other callbacks find when an epoch ends, such as the one that keeps the best
    weights. For that, it has to be the first callback.

    Parameters
    ----------
    decay : float
        Share of the average that each step keeps, in (0, 1). In step n it is at most
        ``(1 + n) / (10 + n)``, so that the initial weights are soon forgotten.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin to count the steps."""
        self.n_steps_ = 0
        self.averages_: dict[str, Tensor] = {}
        self.trained_: dict[str, Tensor] = {}  # weights of the training while the average is shown

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Put the weights of the training into the module, which holds the average till now."""
        self.averages_ = _copies(net.module_)
        if self.trained_:
            net.module_.load_state_dict(self.trained_)
            self.trained_ = {}

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Show the average from the first batch of a validation on."""
        if not training:
            self._show_average(net.module_)

    @torch.no_grad()
    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Take the weights of a step into the average. Counters are not averaged but copied."""
        if not training:
            return
        self.n_steps_ += 1
        decay = min(self.decay, (1 + self.n_steps_) / (10 + self.n_steps_))
        for name, values in net.module_.state_dict().items():
            if values.is_floating_point() or values.is_complex():
                self.averages_[name].lerp_(values, 1.0 - decay)
            else:
                self.averages_[name].copy_(values)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Show the average, also without a validation."""
        self._show_average(net.module_)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Leave the average in the module, also if the training was interrupted."""
        if self.averages_:
            net.module_.load_state_dict(self.averages_)
        self.averages_, self.trained_ = {}, {}

    def _show_average(self, module: nn.Module) -> None:
        if not self.trained_:
            self.trained_ = _copies(module)
            module.load_state_dict(self.averages_)


def _copies(module: nn.Module) -> dict[str, Tensor]:
    return {name: values.detach().clone() for name, values in module.state_dict().items()}
