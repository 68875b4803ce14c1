"""One training on several processes, each of which computes its share of every batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from skorch.hf import AccelerateMixin
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sksep.training._net import SeparationNet


def join_processes(device: torch.device) -> Any:
    """The accelerator that connects this process to the others; None if it is the only one.

    Parameters
    ----------
    device : torch.device
        Kind of device to train on.

    Raises
    ------
    ImportError
        If accelerate is not installed.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise ImportError(
            "accelerate=True trains with the package accelerate, which is not installed: "
            "pip install 'sksep[accelerate]'."
        ) from error
    accelerator = Accelerator(
        device_placement=False,
        mixed_precision="no",  # the net has a precision of its own
        cpu=device.type != "cuda",  # processes cannot exchange tensors on MPS
        # Networks may have weights that do not influence the loss.
        kwargs_handlers=[DistributedDataParallelKwargs(static_graph=True)],
    )
    return accelerator if accelerator.num_processes > 1 else None


def of_main_process(value: Any) -> Any:
    """The value of the main process, for all processes."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def fit_on_all_processes(net: SeparationNet, train_set: Any, accelerator: Any) -> None:
    """Call `partial_fit` so that each process does its share. The net stays free of accelerate.

    Parameters
    ----------
    net : SeparationNet
        An initialized net, the same in all processes.
    train_set : ExcerptDataset
        The data set, the same in all processes.
    accelerator : accelerate.Accelerator
        Result of `join_processes`.
    """
    from accelerate.utils import broadcast

    train_set.share = (accelerator.process_index, accelerator.num_processes)
    parallel = AcceleratedNet.of(net, len(train_set), accelerator)
    with synchronized_batch_norm(net.module_, accelerator.device):
        parallel.wrap_module()
        parallel.partial_fit(train_set, None)
    net.history = parallel.history
    # Weights are the same in all processes, but on CPUs each has its own statistics of batch norm.
    broadcast(list(net.module_.buffers()))


class AcceleratedNet(AccelerateMixin, SeparationNet):  # type: ignore[misc]
    """A net whose gradients and losses are those of all processes together.

    Batches are divided not by accelerate but by the data set, after its random draws. So the
    batches are those of a single process.
    """

    module_: Any

    @classmethod
    def of(cls, net: SeparationNet, n_excerpts: int, accelerator: Any) -> AcceleratedNet:
        """Make a net that shares module, optimizer and callbacks with an initialized one."""
        parallel = cls.__new__(cls)
        parallel.__dict__.update(
            vars(net),
            accelerator=accelerator,
            unwrap_after_train=True,
            _wrapped_with_accelerator=False,
            _n_excerpts=n_excerpts,
        )
        if not accelerator.is_main_process:
            parallel.verbose = 0
            parallel.callbacks_ = [pair for pair in net.callbacks_ if pair[0] != "progress"]
        return parallel

    def wrap_module(self) -> None:
        """Make the module average gradients over the processes. Training unwraps it at its end."""
        module = self.module_
        self.module_ = self.accelerator.prepare(module)
        # Checkpoints and callbacks expect the names that the module itself gives its weights.
        self.module_.state_dict = module.state_dict
        self.module_.load_state_dict = module.load_state_dict
        self._wrapped_with_accelerator = True

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the batches of the data set as they are."""
        return SeparationNet.get_iterator(self, dataset, training=training)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Make all processes shuffle alike, even if one drew more random numbers than others."""
        super().on_epoch_begin(net, **kwargs)
        torch.set_rng_state(of_main_process(torch.get_rng_state()))

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Weight the loss of a batch by all of its excerpts in the mean of the epoch."""
        super().on_batch_end(net, training=training, **kwargs)
        if training:
            self.history.record_batch("train_batch_size", self._n_in_batch())

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Forward and backward pass of the share of a batch. Returns the loss of the whole."""
        self._set_training(True)
        excerpts = self.excerpts(batch, self.augmentation)
        with self._own_random_numbers():
            loss, output = self._loss(excerpts)
        # The mean of the gradients weights processes alike. It should weight excerpts alike.
        n_processes = self.accelerator.num_processes
        loss = loss * (len(batch[0]) * n_processes / max(self._n_in_batch(), n_processes))
        self.accelerator.backward(loss)
        return {"loss": self.accelerator.reduce(loss.detach(), "mean"), "y_pred": output}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Loss of one batch. Each process computes it, and the mean is equal in all of them."""
        step = super().validation_step(batch, **fit_params)
        return {**step, "loss": self.accelerator.reduce(step["loss"], "mean")}

    def _n_in_batch(self) -> int:
        """Number of excerpts of all processes in the present batch."""
        n_before = (len(self.history[-1]["batches"]) - 1) * self.batch_size
        return int(min(self.batch_size, self._n_excerpts - n_before))

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Give the dropout random numbers of this process alone, and keep the common ones."""
        with torch.random.fork_rng(devices=[]):
            common = int(torch.randint(2**31, ()))
            n_batches = len(self.history[-1]["batches"])
            accelerator = self.accelerator
            torch.manual_seed(
                common + n_batches * accelerator.num_processes + accelerator.process_index
            )
            yield


@contextmanager
def synchronized_batch_norm(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Let batch norm use the statistics of all processes within the block, on CUDA only."""
    layers = {
        name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)
    }
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
    try:
        yield
    finally:
        # Put the replaced layers back. They share weights and statistics with their substitutes.
        for name, layer in layers.items():
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, layer)
