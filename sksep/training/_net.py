"""The skorch net that separators hold, which computes losses of excerpts."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor

from sksep.nn.excerpts import Excerpts
from sksep.nn.front_end import FrontEnd
from sksep.nn.mask_estimator import as_float, autocast
from sksep.training._augmentation import Augmentation


class SeparationNet(NeuralNet):  # type: ignore[misc]
    """A skorch net on batches of excerpts, which computes features and targets on its device.

    Parameters
    ----------
    module, criterion
        Arguments of skorch. The criterion is called with the module's output and `Excerpts`.
    front_end : FrontEnd
        Settings of the spectra.
    ratio, weighting : str
        Kind of the targets.
    augmentation : Augmentation or None
        Variations of the training excerpts.
    precision : torch.dtype
        Precision of the forward pass. Parameters and losses stay in float32.
    **kwargs
        Further arguments of skorch.
    """

    def __init__(
        self,
        module: Any,
        criterion: Any,
        *,
        front_end: FrontEnd,
        ratio: str = "power",
        weighting: str = "magnitude",
        augmentation: Augmentation | None = None,
        precision: torch.dtype = torch.float32,
        **kwargs: Any,
    ) -> None:
        self.front_end = front_end
        self.ratio = ratio
        self.weighting = weighting
        self.augmentation = augmentation
        self.precision = precision
        super().__init__(module, criterion, **kwargs)

    def torch_compile(self, module: Any, name: str) -> Any:
        """Compile the module in place, so that names of weights, files and copies do not change."""
        if self.compile and name == "module":
            module.compile(**self.get_params_for("compile"))
        return module

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Run skorch's loop, but on devices other than the CPU read losses when the epoch ends.

        Until then, callbacks find the losses of the batches in the history as tensors on the
        device.
        """
        if iterator is None or not self._losses_stay:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            return
        name, n_batches = f"{prefix}_loss", 0
        try:
            for batch in iterator:
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch, **fit_params)
                self.history.record_batch(name, step["loss"].detach())
                self.history.record_batch(f"{prefix}_batch_size", len(batch[0]))
                self.notify("on_batch_end", batch=batch, training=training, **step)
                n_batches += 1
            self.history.record(f"{prefix}_batch_count", n_batches)
        finally:  # also if the training is interrupted
            rows = [row for row in self.history[-1]["batches"] if name in row]
            if rows:
                losses = torch.stack([row[name] for row in rows]).flatten().tolist()
                for row, loss in zip(rows, losses, strict=True):
                    row[name] = loss

    @property
    def _losses_stay(self) -> bool:
        """Whether losses stay on the device during an epoch, since reading one waits for it."""
        return torch.device(self.device).type != "cpu"

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Forward and backward pass of one batch."""
        self._set_training(True)
        loss, output = self._loss(self.excerpts(batch, self.augmentation))
        loss.backward()
        return {"loss": loss, "y_pred": output}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Loss of one batch, without augmentation."""
        self._set_training(False)
        with torch.no_grad():
            loss, output = self._loss(self.excerpts(batch, None))
        return {"loss": loss, "y_pred": output}

    def _loss(self, excerpts: Excerpts) -> tuple[Tensor, Any]:
        features = excerpts.features  # not below, where bfloat16 would round decibels to halves
        with autocast(torch.device(self.device), self.precision):
            output = as_float(self.module_(features))
        loss = self.criterion_(output, excerpts)
        return loss, output

    def excerpts(
        self, batch: tuple[Tensor, Tensor], variation: Augmentation | None = None
    ) -> Excerpts:
        """Excerpts on the device, from stems (batch, 2, n_samples) and their gains (batch, 2)."""
        stems, gains = (part.to(self.device, non_blocking=True) for part in batch)
        if variation is not None:
            stems = variation.vary(stems, self.front_end.excerpt_length)
        vocals, accompaniment = (stems * gains[:, :, None]).unbind(dim=1)
        if variation is not None:
            accompaniment = variation.add_noise(vocals, accompaniment)
        return Excerpts(vocals, accompaniment, self.front_end, self.ratio, self.weighting)
