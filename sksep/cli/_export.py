"""`sksep export`: the network of a model in ONNX."""

from __future__ import annotations

from pathlib import Path

import click

from sksep.cli._command import Command, overwrite_option
from sksep.cli._files import check_target

_EXAMPLES = """\
sksep export small-v1 -o small.onnx
sksep export mine.safetensors -o mine.onnx
"""


@click.command("export", cls=Command, examples=_EXAMPLES)
@click.argument("model")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write, by custom with the suffix .onnx.",
)
@overwrite_option
def export(model: str, output: Path, overwrite: bool) -> None:
    """Write the network of a model to an ONNX file, for programs without Python.

    MODEL is uhnet, small-v1, uhnet-mir1k, unet-mir1k, or a file of `sksep train`. The ONNX file
    turns log-mel chunks into masks; its metadata hold the settings of everything around. The guide
    explains them.
    """
    check_target(output, overwrite=overwrite, inputs=[Path(model)])
    from sksep.export import export_onnx
    from sksep.inference._models import load_model

    try:
        export_onnx(load_model(model, device="cpu"), output, overwrite=overwrite)
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Wrote {output} ({output.stat().st_size / 1e6:.1f} MB).")
