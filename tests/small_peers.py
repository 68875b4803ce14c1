"""Small models of other packages, with random weights. Their packages may be missing."""

from __future__ import annotations

import atexit
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch


def half(mixture: Any) -> Any:
    """Function of a `FunctionSeparator` that pickles can name."""
    return 0.5 * mixture


@cache
def small_demucs() -> Any:
    """HTDemucs with segments of a second, at 8 kHz."""
    from demucs.htdemucs import HTDemucs

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = HTDemucs(
            sources=["drums", "bass", "other", "vocals"],
            channels=8,
            t_layers=1,
            t_heads=2,
            samplerate=8000,
            segment=1,
        )
    return model.eval()


@cache
def open_unmix_state() -> dict[str, torch.Tensor]:
    """State of a small network of Open-Unmix, like those that the package downloads."""
    from sksep.peers._open_unmix import import_open_unmix

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = import_open_unmix().model.OpenUnmix(
            nb_bins=129, nb_channels=2, hidden_size=16, nb_layers=2, max_bin=100
        )
        for parameter in (network.input_mean, network.output_mean, network.output_scale):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return network.state_dict()


ONNX_KERNEL = np.random.default_rng(0).normal(0.0, 0.3, (2, 2, 5)).astype(np.float32)


def write_onnx(
    path: Path,
    *,
    metadata: dict[str, str] | None = None,
    channels: int | str = 2,
    length: int | str = "n_samples",
    n_sources: int | None = None,
) -> Path:
    """A convolution of two channels by `ONNX_KERNEL`, or a gain of 0.5 of any other number.

    With `n_sources`, there are several sources: the vocals once, twice, ... as loud.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, channels, length]
    if channels == 2:
        nodes = [helper.make_node("Conv", ["mixture", "kernel"], ["vocals"], pads=[2, 2])]
        constants = [numpy_helper.from_array(ONNX_KERNEL, "kernel")]
    else:
        nodes = [helper.make_node("Mul", ["mixture", "gain"], ["vocals"])]
        constants = [numpy_helper.from_array(np.array([0.5], np.float32), "gain")]
    output, output_shape = "vocals", shape
    if n_sources is not None:
        gains = np.arange(1.0, n_sources + 1.0, dtype=np.float32).reshape(1, -1, 1, 1)
        axes = numpy_helper.from_array(np.array([1]), "axes")
        constants += [numpy_helper.from_array(gains, "gains"), axes]
        nodes += [
            helper.make_node("Unsqueeze", ["vocals", "axes"], ["stacked"]),
            helper.make_node("Mul", ["stacked", "gains"], ["sources"]),
        ]
        output, output_shape = "sources", [1, n_sources, channels, length]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("mixture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, output_shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


def demucs_package() -> dict[str, Any]:
    """The content of a file that the training of demucs writes."""
    model = small_demucs()
    args, kwargs = model._init_args_kwargs
    return {"klass": type(model), "args": args, "kwargs": kwargs, "state": model.state_dict()}


@cache
def onnx_file() -> str:
    """The file of a small model, which is there until the tests end."""
    return str(write_onnx(_folder() / "small.onnx", metadata={"sample_rate": "8000"}))


@cache
def demucs_file() -> str:
    """The same of HTDemucs."""
    path = _folder() / "small.th"
    torch.save(demucs_package(), path)
    return str(path)


@cache
def open_unmix_file() -> str:
    """The same of Open-Unmix."""
    path = _folder() / "vocals.pth"
    torch.save(open_unmix_state(), path)
    return str(path)


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)
