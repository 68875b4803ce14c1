"""`sksep train`: a model from songs whose vocals are known."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from sksep.cli._command import Command, describe, device_option, overwrite_option, plain_output
from sksep.cli._files import check_target, check_writable

MODELS = {
    "unet": "unet_pipeline",
    "uhnet": "uhnet_pipeline",
    "deep-clustering": "deep_clustering_pipeline",
    "hybrid": "hybrid_clustering_pipeline",
}
PRESETS = ("report", "report_front_end", "recommended")

_EXAMPLES = """\
sksep train my-songs -o mine.safetensors
sksep train my-songs -o fast.safetensors --model unet --epochs 20 --steps-per-epoch 50
sksep train my-songs -o drums.safetensors --target drums
sksep train my-songs -o mine.safetensors --singing a-cappella --instrumental backing-tracks
sksep separate song.wav -o out --model mine.safetensors
"""
_EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _check_target(_: click.Context, __: click.Parameter, target: str) -> str:
    from sksep.utils._validation import stem_name

    try:
        stem_name("STEM", target)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return target


@click.command("train", cls=Command, examples=_EXAMPLES)
@click.argument("data", type=_EXISTING_FOLDER)
@click.option(
    "-o",
    "--output",
    metavar="MODEL",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write, by custom with the suffix .safetensors.",
)
@click.option(
    "--model",
    type=click.Choice(list(MODELS)),
    default="uhnet",
    show_default=True,
    help="Network to train; unet takes less time.",
)
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default="recommended",
    show_default=True,
    help="Front end and training: those of the source report, or better ones.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=30, show_default=True)
@click.option(
    "--steps-per-epoch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Training steps per epoch. Default: enough to draw as much audio as there is.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Excerpts in a step. Default: that of the preset.",
)
@click.option(
    "--validation-fraction",
    type=click.FloatRange(0.0, 1.0, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the songs that is held back to find the best epoch; 0 keeps the last epoch.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--target",
    metavar="STEM",
    default="vocals",
    show_default=True,
    callback=_check_target,
    help="Stem to extract, by the name of its files: drums needs drums.wav and mixture.wav.",
)
@click.option(
    "--singing",
    metavar="FOLDER",
    type=_EXISTING_FOLDER,
    help="Further singing without accompaniment, which is mixed with any accompaniment.",
)
@click.option(
    "--instrumental",
    metavar="FOLDER",
    type=_EXISTING_FOLDER,
    help="Further music without vocals, which is mixed with any vocals.",
)
@click.option(
    "--checkpoint",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the state of the training after each epoch. If the training was interrupted, "
    "or killed, the same command goes on from there.",
)
@device_option
@overwrite_option
def train(
    data: Path,
    output: Path,
    model: str,
    preset: str,
    epochs: int,
    steps_per_epoch: int | None,
    batch_size: int | None,
    validation_fraction: float,
    seed: int,
    target: str,
    singing: Path | None,
    instrumental: Path | None,
    checkpoint: Path | None,
    device: str,
    overwrite: bool,
) -> None:
    """Train a model on songs whose vocals, or another stem, are known.

    DATA holds a folder per song, with vocals.wav and accompaniment.wav (or mixture.wav) in it.
    FLAC, OGG and MP3 files work, too. The model is trained on all of these songs, so keep songs for
    a test of the model in another folder. If there are enough artists (in the names of the folders,
    before " - "), the songs that are held back are all songs of some of them.

    Ctrl-C and SIGTERM end the training early. The best weights so far are then written. To go on
    later, add --checkpoint from the beginning.
    """
    check_target(output, overwrite=overwrite)
    if not output.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {output.parent} to write to; create it first.")
    check_writable(output.parent)
    if checkpoint is not None:
        checkpoint.mkdir(parents=True, exist_ok=True)
        check_writable(checkpoint)
    from sksep.datasets import load_folder

    songs = load_folder(data, target=target)
    pipeline = _pipeline(model, preset, target, _pools(singing, instrumental))
    separator = pipeline["separate"]
    if batch_size is not None:
        separator.set_params(batch_size=batch_size)
    if steps_per_epoch is not None:
        separator.set_params(excerpts_per_epoch=steps_per_epoch * separator.batch_size)
    separator.set_params(
        max_epochs=epochs,
        validation_fraction=validation_fraction,
        random_state=seed,
        device=device,
        checkpoint=checkpoint,
        verbose=1,
    )
    if songs.split is not None:
        click.echo(f"All parts are trained on: {', '.join(sorted(set(songs.split)))}.")
    click.echo(f"Training {model} ({preset}) to extract {target}, on {len(songs.mixtures)} songs.")
    started = time.perf_counter()
    _fit(pipeline, songs)
    minutes = (time.perf_counter() - started) / 60.0
    # The file must not name folders of this machine, or print when others predict.
    separator.set_params(verbose=0, checkpoint=None)
    if singing is not None or instrumental is not None:
        separator.set_params(augmentation__vocals_pool=None, augmentation__accompaniment_pool=None)
    _save(pipeline, output, overwrite=overwrite)
    size = output.stat().st_size / 1e6
    click.echo(
        f"Trained for {separator.n_epochs_} epochs in {minutes:.1f} minutes; wrote {output} "
        f"({size:.1f} MB).\n\n"
        f"Use it:      sksep separate song.wav --model {output} -o out"
    )
    if target == "vocals":
        click.echo(f"Measure it:  sksep evaluate {output} OTHER-SONGS")


def _fit(pipeline: Any, songs: Any) -> None:
    """Train. An interruption after an epoch at least is a warning, as the weights are kept."""
    from sksep.training import TrainingInterrupted

    fraction = pipeline["separate"].validation_fraction
    artists_suffice = round(len(set(songs.groups)) * fraction) > 0
    fit_params = {"separate__groups": songs.groups} if artists_suffice else {}
    try:
        with plain_output():
            pipeline.fit(songs.mixtures, songs.targets, **fit_params)
    except TrainingInterrupted as interruption:
        what_happened = str(interruption).split(" To continue")[0]
        how = "repeat the command, with --overwrite if it has written a model"
        if pipeline["separate"].checkpoint is None:
            how = "a training needs --checkpoint from its beginning"
        click.echo(f"Warning: {what_happened} To go on, {how}.", err=True)
        if pipeline["separate"].n_epochs_ == 0:
            raise
        # The steps behind the separator learn no weights, but have to be fitted.
        pipeline["invert"].fit(pipeline["chunk"].transform(songs.mixtures[:1]))


def _save(pipeline: Any, output: Path, *, overwrite: bool) -> None:
    """Save a model. If that fails, it is saved under another name, so that no training is lost."""
    from sksep.persistence import save

    try:
        save(pipeline, output, overwrite=overwrite)
        return
    except OSError as error:
        problem = describe(error)
    name = f"{output.stem}-{time.strftime('%Y%m%d-%H%M%S')}{output.suffix}"
    for folder in (output.parent, Path(), Path(tempfile.gettempdir())):
        with suppress(OSError):
            save(pipeline, folder / name)
            raise click.ClickException(f"{problem} The model was saved as {folder / name} instead.")
    raise click.ClickException(problem)


def _pools(singing: Path | None, instrumental: Path | None) -> dict[str, list[str]]:
    """Parameters of an `Augmentation`: recordings in folders, also in folders inside of them."""
    from sksep.datasets import load_files

    pools = {"vocals_pool": singing, "accompaniment_pool": instrumental}
    return {
        name: load_files(folder, "**/*").paths
        for name, folder in pools.items()
        if folder is not None
    }


def _pipeline(model: str, preset: str, target: str, pools: dict[str, list[str]]) -> Any:
    """A pipeline to fit, with further recordings for its training."""
    from sksep import presets
    from sksep.training import Augmentation

    pipeline = getattr(presets, MODELS[model])(preset).set_params(mask__target=target)
    if pools:
        augmentation = pipeline["separate"].augmentation
        if not isinstance(augmentation, Augmentation):  # True, the default one
            augmentation = Augmentation()
        pipeline["separate"].set_params(augmentation=augmentation.set_params(**pools))
    return pipeline
