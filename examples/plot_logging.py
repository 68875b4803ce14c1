"""
Watching a training: TensorBoard, MLflow, Weights & Biases
==========================================================

Trained separators are `skorch <https://skorch.readthedocs.io>`_ nets, so skorch's callbacks can
log their training. A loss does not tell how a separator sounds. A few more lines log the mask and
the vocals of one song that is not trained on, after each epoch. All logs of this page stay in a
temporary folder; no server is needed, and nothing is sent.
"""

import io
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch
from skorch.callbacks import MlflowLogger, TensorBoard, WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import sksep
from sksep import Augmentation
from sksep.datasets import make_songs
from sksep.plotting import AudioDisplay
from sksep.presets import unet_pipeline

folder = Path(tempfile.mkdtemp())
# No usage statistics are sent, and your own folders are not written to. MLflow logs to plain files,
# since the database that it prefers is not there.
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ALLOW_FILE_STORE="true")
os.environ.update(WANDB_SILENT="true", WANDB_ERROR_REPORTING="false")
os.environ.update({f"WANDB_{name}_DIR": str(folder) for name in ("CACHE", "CONFIG", "DATA")})

songs = make_songs(9, duration=4.0, random_state=0)
stems = np.stack([songs.vocals[-1], songs.accompaniments[-1]])  # the stems of the song to watch

# %%
# A callback that logs sounds
# ---------------------------
#
# After each epoch a callback gets the net. The net makes a chunk of the stems of a song, the module
# estimates the logits of its mask, and the mask gives a waveform. skorch's ``TensorBoard`` takes a
# writer. This one takes a folder and opens the writer when training begins: an open writer cannot
# be copied, but ``clone``, searches and ``fit`` copy the parameters of estimators.


class ListeningTensorBoard(TensorBoard):
    """Logs losses, a mask and a sound after each epoch."""

    def __init__(self, folder, stems):
        self.folder = folder
        self.stems = stems

    def initialize(self):
        super().__init__(writer=None)
        return super().initialize()

    def on_train_begin(self, net, **kwargs):
        self.writer = SummaryWriter(self.folder)

    def on_epoch_end(self, net, **kwargs):
        samples = torch.tensor(self.stems[None, :, : net.front_end.excerpt_length])
        excerpt = net.excerpts((samples, torch.ones(1, 2)))
        net.module_.eval()
        with torch.no_grad():
            mask = torch.sigmoid(net.module_(excerpt.features))
            vocals, _ = excerpt.invert(mask)
        epoch, rate = len(net.history), net.front_end.sample_rate
        # Images begin at the top, spectrograms at the bottom.
        self.writer.add_image("mask", mask[0].T.flip(0), epoch, dataformats="HW")
        self.writer.add_audio("vocals", vocals[0].clamp(-1.0, 1.0), epoch, rate)
        super().on_epoch_end(net, **kwargs)

    def on_train_end(self, net, **kwargs):
        super().on_train_end(net, **kwargs)
        self.writer = None


callbacks = [ListeningTensorBoard(str(folder / "tensorboard"), stems)]

# %%
# MLflow and Weights & Biases
# ---------------------------
#
# Their loggers are part of skorch. Without an account or a network, ``mode="offline"`` keeps a run
# of Weights & Biases on the disk; ``wandb sync`` uploads it later. A logger is left out if its
# package is not installed.

try:
    from mlflow.tracking import MlflowClient

    client = MlflowClient((folder / "mlflow").as_uri())
    mlflow_run = client.create_run(client.create_experiment("vocals")).info.run_id
    callbacks.append(MlflowLogger(client.get_run(mlflow_run), client))
except ImportError:
    client = None
    print("MLflow is not installed: pip install mlflow-skinny")
try:
    import wandb

    settings = wandb.Settings(console="off", x_disable_stats=True, x_save_requirements=False)
    wandb_run = wandb.init(project="vocals", mode="offline", dir=folder, settings=settings)
    callbacks.append(WandbLogger(wandb_run, save_model=False))
except ImportError:
    wandb_run = None
    print("Weights & Biases is not installed: pip install wandb")

# %%
# One training writes three logs. Two of the eight songs are held back for the validation loss.

pipeline = unet_pipeline(
    chunk__n_fft=1024,
    chunk__hop_length=256,
    chunk__n_mels=80,
    separate__architecture="singing_voice",
    separate__n_filters=8,
    separate__n_levels=4,
    separate__dropout=0.0,
    separate__lr=5e-3,
    separate__max_epochs=6,
    separate__excerpts_per_epoch=64,
    separate__augmentation=Augmentation(true_pairs=0.5, gain_range=(-3, 3)),
    separate__validation_fraction=0.25,
    separate__callbacks=callbacks,
    separate__random_state=0,
)
pipeline = pipeline.fit(songs.mixtures[:-1], songs.vocals[:-1])

# %%
# Read the logs
# -------------
#
# ``tensorboard --logdir`` shows the folder in a browser. Here it is read back: the losses, which
# are negative signal-to-noise ratios in dB, and the masks after the first and the last epoch.

events = EventAccumulator(str(folder / "tensorboard"), {"images": 0, "audio": 0, "scalars": 0})
events.Reload()
figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for tag in ("Loss/train_loss", "Loss/valid_loss"):
    logged = events.Scalars(tag)
    axes[0].plot([event.step for event in logged], [event.value for event in logged], label=tag)
axes[0].set(xlabel="Epoch", ylabel="Loss (dB)", title="Scalars")
axes[0].legend()
masks = events.Images("mask")
for ax, picture in zip(axes[1:], (masks[0], masks[-1]), strict=True):
    pixels = plt.imread(io.BytesIO(picture.encoded_image_string), format="png")
    ax.imshow(pixels, cmap="gray", vmin=0.0, vmax=1.0, aspect="auto")
    ax.set(xlabel="Frame", ylabel="Band", yticks=[], title=f"Mask after epoch {picture.step}")

# %%
# These are the estimated vocals after the first and the last epoch:

sounds = events.Audio("vocals")
logged_sounds = {
    f"after epoch {sound.step}": soundfile.read(io.BytesIO(sound.encoded_audio_string))[0]
    for sound in (sounds[0], sounds[-1])
}
AudioDisplay(
    {"mixture": songs.mixtures[-1], "true vocals": songs.vocals[-1], **logged_sounds},
    sample_rate=songs.sample_rate,
)

# %%
# MLflow has the same losses, and the weights; Weights & Biases has the last ones in the summary of
# its run, and all of them in the file that it would upload.

if client is not None:
    losses = sorted(client.get_metric_history(mlflow_run, "valid_loss"), key=lambda loss: loss.step)
    print("MLflow:", [round(loss.value, 2) for loss in losses])
if wandb_run is not None:
    print("Weights & Biases:", round(wandb_run.summary["valid_loss"], 2))
    wandb_run.finish()
print("The separator itself:", np.round(pipeline["separate"].validation_loss_curve_, 2))

# %%
# A search clones the pipeline with its callbacks, and all candidates then log to one folder and one
# run. So give loggers only to the model that you keep. :func:`sksep.save` leaves callbacks out and
# warns about it, unless they are removed first.

sksep.save(pipeline.set_params(separate__callbacks=None), folder / "vocals.safetensors")
