"""The command `sksep`, by which the library is used without Python.

Nothing heavy is imported before a command runs, so that its help comes at once.
"""

from __future__ import annotations

import click

from sksep import __version__
from sksep.cli._command import Group
from sksep.cli._demo import demo
from sksep.cli._evaluate import evaluate
from sksep.cli._export import export
from sksep.cli._models import models
from sksep.cli._separate import separate
from sksep.cli._train import train

_EXAMPLES = """\
sksep demo                              # see it work, in seconds and offline
sksep separate song.mp3 -o out          # out/song/vocals.wav and accompaniment.wav
sksep separate album -o out --format flac
sksep models                            # models that ship, and how good they are
sksep train my-songs -o mine.safetensors
sksep evaluate uhnet mine.safetensors other-songs
sksep export mine.safetensors -o mine.onnx
"""


@click.group(
    cls=Group, examples=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="sksep")
def main() -> None:
    """Extract the vocals from recorded music.

    It separates a song into vocals and accompaniment, with a model that ships or with one that you
    train on your own recordings. Nothing is downloaded or sent anywhere.
    """


for _command in (separate, models, train, evaluate, export, demo):
    main.add_command(_command)
