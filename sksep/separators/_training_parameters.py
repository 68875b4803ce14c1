"""The documentation of the parameters that every trained separator has."""

from __future__ import annotations

from typing import TypeVar

_Class = TypeVar("_Class", bound=type)

_PARAMETERS = """\
    optimizer : {"rmsprop", "adam", "adamw", "sgd"} or torch optimizer class, default="rmsprop"
        Optimizer.
    lr : float, default=1e-3
        Learning rate, the highest one of a schedule.
    schedule : {"cosine", "one_cycle"}, default=None
        Course of the learning rate over `max_epochs`; None keeps it.
    weight_decay : float, default=0.0
        Weight decay of the optimizer.
    gradient_clipping : float, default=None
        Largest norm of the gradient; None for any.
    batch_size : int, default=32
        Excerpts per training step, and chunks at a time when predicting.
    max_epochs : int, default=30
        Epochs to train for.
    excerpts_per_epoch : int, default=None
        Excerpts in an epoch of augmented training; None for as many as fill the duration of the
        training tracks.
    early_stopping : bool, default=False
        Stop when the validation loss has not improved for `n_iter_no_change` epochs.
    validation_fraction : float, default=0.1
        Share of the tracks held back for validation, in [0, 1); rounded, so that few tracks may
        mean none. Where there are some, the weights of the best epoch are kept.
    n_iter_no_change : int, default=10
        Patience of `early_stopping` in epochs.
    augmentation : bool or Augmentation, default=True
        Random excerpts, remixes and variations; False trains on the chunks as they are. Searches
        reach ``augmentation__*`` where an `Augmentation` is given.
    callbacks : list, default=None
        Further skorch callbacks. Training uses copies of them. Searches, which clone, and pickle
        need callbacks that can be copied and pickled: a logger that opens its file when training
        begins, say.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights that it finds.
    checkpoint : str or os.PathLike, default=None
        Folder in which `fit` writes the state of its training after each epoch. Where a training
        was interrupted, the same `fit` (the same tracks and parameters, again, in this or another
        process) goes on from the last complete epoch and ends where it would have ended. Needs an
        integer as `random_state`; the state of further `callbacks` is not kept. A training that
        ends deletes its file.
    accelerate : bool, default=False
        Train on all processes that ``accelerate launch`` or ``torchrun`` started, each with its
        share of every batch: `batch_size` counts the excerpts of all. They need the same tracks and
        parameters and an integer as `random_state`, and end with the same weights. In a process
        that runs alone it changes nothing. Needs ``pip install 'sksep[accelerate]'``.
    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Where to compute.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the network; "auto" is bfloat16 on CUDA devices that compute in it and on CPUs with AMX,
        and float32 elsewhere.
    net_params : dict, default=None
        Further parameters of the skorch net.
    random_state : int, RandomState instance or None, default=None
        Of initial weights, excerpts and dropout.
    verbose : int, default=0
        1 prints a table of epochs and a progress bar.
"""

_ATTRIBUTES = """\
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    front_end_ : FrontEnd
        Settings of the `MelChunker` that it was trained with.
    n_epochs_ : int
        Epochs trained so far.
    history_ : skorch.history.History
        The training history, a row per epoch.
    loss_curve_, validation_loss_curve_ : list of float
        Losses per epoch; the latter is empty where no tracks were held back.
"""


def document_training(separator: _Class) -> _Class:
    """Write the shared parameters and attributes into the docstring of a separator."""
    if separator.__doc__:  # not there under python -OO
        separator.__doc__ = separator.__doc__.replace(
            "    TRAINING_PARAMETERS\n", _PARAMETERS
        ).replace("    TRAINING_ATTRIBUTES\n", _ATTRIBUTES)
    return separator
