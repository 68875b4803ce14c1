"""`sksep demo`: a synthetic song, and the vocals that a model extracts from it."""

from __future__ import annotations

from pathlib import Path

import click

from sksep.cli._command import DEFAULT_MODEL, Command, device_option
from sksep.utils._choices import STEMS

# File that marks the folder of an earlier demo.
_MARK = "sksep-demo.txt"
_SECONDS = 12.0
_RATE = 16000

_EXAMPLES = """\
sksep demo
sksep demo -o somewhere-else --model small
"""


@click.command("demo", cls=Command, examples=_EXAMPLES)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    default="sksep-demo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to. It must be new, empty or that of an earlier demo.",
)
@click.option(
    "--model",
    metavar="NAME|PATH",
    default=DEFAULT_MODEL,
    show_default=True,
    help="As in `sksep separate`.",
)
@device_option
def demo(output: Path, model: str, device: str) -> None:
    """Make a song, separate it, and report how well that worked.

    The song is synthetic, so that its vocals are known and nothing has to be downloaded. It is
    simpler than recorded music. The SDR shows that everything works, but not how good the results
    for your songs will be.
    """
    if output.is_dir() and any(output.iterdir()) and not (output / _MARK).is_file():
        raise FileExistsError(
            f"{output} is not empty and not the folder of an earlier demo; choose another --output."
        )
    import soundfile

    from sksep.audio._validation import load_audio
    from sksep.datasets import make_songs
    from sksep.inference._files import separate_file
    from sksep.inference._models import load_model
    from sksep.metrics import sdr

    pipeline = load_model(model, device=device)
    songs = make_songs(1, _SECONDS, sample_rate=_RATE, random_state=0)
    output.mkdir(parents=True, exist_ok=True)
    # Written first, so that the folder of an interrupted demo is known as one, too.
    (output / _MARK).write_text("Written by sksep demo, which may replace it.\n", encoding="utf-8")
    song = output / "mixture.wav"
    soundfile.write(song, songs.mixtures[0], _RATE, subtype="PCM_16")
    stems = {stem: output / f"{stem}.wav" for stem in STEMS}
    separate_file(song, stems, pipeline, overwrite=True)

    mixture, _ = load_audio(song)
    lines = [f"{'SDR in dB':16}{'before':>8}{'after':>8}"]
    for stem, truth in (("vocals", songs.vocals[0]), ("accompaniment", songs.accompaniments[0])):
        estimate, _ = load_audio(stems[stem])
        lines.append(f"{stem:16}{sdr(truth, mixture):8.2f}{sdr(truth, estimate):8.2f}")
    table = "\n".join(lines)
    (output / _MARK).write_text(
        f"Written by sksep demo, which may replace it.\n\n{table}\n", encoding="utf-8"
    )
    click.echo(
        f"Made a song of {_SECONDS:.0f} s, {song}, and separated it with {model}:\n"
        + "".join(f"  {path}\n" for path in stems.values())
        + f"\n{table}\n\n"
        "Next:\n"
        "  sksep separate YOUR-SONG.mp3 -o out\n"
        "  sksep models\n"
        "  sksep train --help"
    )
