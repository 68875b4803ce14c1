"""Ready pipelines with settings that belong together."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

from sksep.separators import (
    DeepClusteringSeparator,
    HybridClusteringSeparator,
    NetSeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.training import Augmentation
from sksep.transformers import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.utils._validation import check_choice

__all__ = [
    "deep_clustering_pipeline",
    "hybrid_clustering_pipeline",
    "uhnet_pipeline",
    "unet_pipeline",
]

_REPORT_FRONT_END: dict[str, Any] = {"n_fft": 1024, "hop_length": 128, "n_mels": 128}
_WIDE_FRONT_END: dict[str, Any] = {"n_fft": 2048, "hop_length": 512, "n_mels": 256}
_TRAINING: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 2e-3,
    "schedule": "one_cycle",
    "weight_decay": 1e-2,
    "gradient_clipping": 5.0,
}
# Measured on a singer never trained on: the negative SNR of the waveform is more than 1 dB ahead of
# the report's cross-entropy after equal steps and time (docs/measurements.md).
_MASKS: dict[str, Any] = {"loss": "snr", "dropout": 0.2}
_RECURRENT: dict[str, Any] = {"hidden_size": 128, "n_layers": 2}
# Parameters of each separator beside those of training, unless the preset is the report's.
_SEPARATORS: dict[type[NetSeparator], dict[str, Any]] = {
    UNetSeparator: _MASKS,
    DeepClusteringSeparator: _RECURRENT,
    HybridClusteringSeparator: _RECURRENT,
    UHNetSeparator: _MASKS | _RECURRENT,
}
# Front end and settings of training. Chunks of the wide front end are four times as long as the
# report's.
_PRESETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "report": (_REPORT_FRONT_END, {}),
    "report_front_end": (_REPORT_FRONT_END, _TRAINING | {"batch_size": 16}),
    "recommended": (_WIDE_FRONT_END, _TRAINING | {"batch_size": 8}),
}
PRESETS = tuple(_PRESETS)


def unet_pipeline(preset: str = "recommended", **parameters: Any) -> Pipeline:
    """Make a pipeline with a `UNetSeparator` and settings that belong together.

    Parameters
    ----------
    preset : {"report", "report_front_end", "recommended"}, default="recommended"
        "report" has the source report's front end (window 1024, hop 128, 128 mel bands), network,
        loss (cross-entropy) and optimizer (rmsprop), but inverts from the phase of the mixture.
        The report's random phases are ``invert__init="random"``. "report_front_end" keeps the
        front end and trains on the negative SNR of the waveform, and so inverts without
        iterations. "recommended" adds a front end whose oracle masks reach a higher SDR (window
        2048, hop 512, 256 mel bands).
    **parameters
        Further parameters of the pipeline, such as ``separate__max_epochs=10``.

    Returns
    -------
    Pipeline
        A pipeline with the steps ``chunk``, ``mask``, ``separate`` and ``invert``.

    Raises
    ------
    ValueError
        If `preset` is unknown, or the pipeline has no such parameter.

    Examples
    --------
    >>> from sksep.presets import unet_pipeline
    >>> pipeline = unet_pipeline("recommended", separate__max_epochs=10)
    >>> pipeline["chunk"].n_mels
    256
    """
    return _pipeline(UNetSeparator, preset, parameters)


def deep_clustering_pipeline(preset: str = "recommended", **parameters: Any) -> Pipeline:
    """Make a pipeline with a `DeepClusteringSeparator` and settings that belong together.

    Parameters
    ----------
    preset : {"report", "report_front_end", "recommended"}, default="recommended"
        The presets of `unet_pipeline`, except that the losses are the separator's own. The last two
        have a smaller recurrent network than the report (two layers of 128 units per direction
        instead of four of 300).
    **parameters
        Further parameters of the pipeline, such as ``separate__max_epochs=10``.

    Returns
    -------
    Pipeline
        A pipeline with the steps ``chunk``, ``mask``, ``separate`` and ``invert``.

    Raises
    ------
    ValueError
        If `preset` is unknown, or the pipeline has no such parameter.

    Examples
    --------
    >>> from sksep.presets import deep_clustering_pipeline
    >>> deep_clustering_pipeline("recommended")["separate"].hidden_size
    128
    """
    return _pipeline(DeepClusteringSeparator, preset, parameters)


def hybrid_clustering_pipeline(preset: str = "recommended", **parameters: Any) -> Pipeline:
    """Make a pipeline with a `HybridClusteringSeparator` and settings that belong together.

    Parameters
    ----------
    preset : {"report", "report_front_end", "recommended"}, default="recommended"
        The presets of `unet_pipeline`, except that the losses are the separator's own. The last two
        have a smaller recurrent network than the report (two layers of 128 units per direction
        instead of four of 300).
    **parameters
        Further parameters of the pipeline, such as ``separate__max_epochs=10``.

    Returns
    -------
    Pipeline
        A pipeline with the steps ``chunk``, ``mask``, ``separate`` and ``invert``.

    Raises
    ------
    ValueError
        If `preset` is unknown, or the pipeline has no such parameter.

    Examples
    --------
    >>> from sksep.presets import hybrid_clustering_pipeline
    >>> hybrid_clustering_pipeline("recommended")["separate"].hidden_size
    128
    """
    return _pipeline(HybridClusteringSeparator, preset, parameters)


def uhnet_pipeline(preset: str = "recommended", **parameters: Any) -> Pipeline:
    """Make a pipeline with a `UHNetSeparator` and settings that belong together.

    Parameters
    ----------
    preset : {"report", "report_front_end", "recommended"}, default="recommended"
        The presets of `unet_pipeline`. The last two have a smaller recurrent network than the
        report (two layers of 128 units per direction instead of four of 300).
    **parameters
        Further parameters of the pipeline, such as ``separate__max_epochs=10``.

    Returns
    -------
    Pipeline
        A pipeline with the steps ``chunk``, ``mask``, ``separate`` and ``invert``.

    Raises
    ------
    ValueError
        If `preset` is unknown, or the pipeline has no such parameter.

    Examples
    --------
    >>> from sksep.presets import uhnet_pipeline
    >>> uhnet_pipeline("recommended")["separate"].hidden_size
    128
    """
    return _pipeline(UHNetSeparator, preset, parameters)


def _pipeline(separator: type[NetSeparator], preset: str, parameters: dict[str, Any]) -> Pipeline:
    check_choice("preset", preset, PRESETS)
    front_end, settings = _PRESETS[preset]
    if settings:
        augmentation = Augmentation(true_pairs=0.2, speed_range=(0.7, 1.4))
        settings = settings | _SEPARATORS[separator] | {"augmentation": augmentation}
    # Masks that were trained on the waveform become worse by iterations (docs/measurements.md).
    inverter = GriffinLimInverter(n_iter=0) if "loss" in settings else GriffinLimInverter()
    pipeline = Pipeline(
        [
            ("chunk", MelChunker(**front_end)),
            ("mask", MaskBuilder()),
            ("separate", separator(**settings)),
            ("invert", inverter),
        ]
    )
    return pipeline.set_params(**parameters)
