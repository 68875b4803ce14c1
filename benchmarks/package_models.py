"""Put trained models into the package, with their cards.

    python benchmarks/package_models.py --models trained --detector trained/detector.json
    python benchmarks/package_models.py --only unet --models trained/unet --detector unet.json

Takes the models of pretrained.py or unet.py, the figures of results/held_out.json (held_out.py) and
results/activity.json (activity.py), and writes sksep/pretrained/NAME.safetensors and NAME.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _lib.models import load_trained
from _lib.results import FOLDER
from sklearn.pipeline import Pipeline

import sksep

PACKAGE = Path(sksep.__file__).parent / "pretrained"
LARGEST_FILE = 16e6

_RESEARCH = (
    "Research and non-commercial use only, since the recordings that it was trained on are for "
    "that: "
)
_GENERAL_TERMS = (
    f"{_RESEARCH}MUSDB18 (most tracks CC BY-NC-SA), MIR-1K (research), GTSinger and other solo "
    "takes (most CC BY-NC-SA 4.0), instrumentals (CC0, CC BY, CC BY-SA, GPL), three songs for "
    "educational use. The code of sksep is BSD-3-Clause."
)
_MIR1K_TERMS = f"{_RESEARCH}MIR-1K is distributed for research. The code of sksep is BSD-3-Clause."
_GENERAL_DATA = (
    "pairs: 94 excerpts of 7 s of MUSDB18's training tracks, the 175 training clips of MIR-1K, "
    "three whole songs; remixed at random with 22 minutes of 27 solo singers and 84 minutes of "
    "instrumentals, at -8 to +6 dB and speeds of 0.8 to 1.25"
)
_MIR1K_DATA = (
    "the 175 training clips of MIR-1K (singers abjones and amy, 24 minutes) and nothing else, "
    "remixed at random, at -8 to +8 dB and speeds of "
)
_GENERAL_PROTOCOL = (
    "BSSEval v3 (512 taps), whole track, mono at 16 kHz, by benchmarks/held_out.py. Two-fold "
    "cross-validation by artist, singer and project: the figures are of two models that were "
    "trained on one half each{steps}, and tested on what the other half has; the model that ships "
    "was trained on everything, so that no recording here can test it."
)
_HALF_OVERLAP = (
    "The chunks of these two overlapped by a half, those of the model that ships overlap by an "
    "eighth, which is faster and costs 0.04 dB; set_params(chunk__overlap=0.5) takes a half."
)
_MIR1K_PROTOCOL = (
    "BSSEval v3 (512 taps), whole track, mono at 16 kHz, by benchmarks/held_out.py, on excerpts of "
    "MUSDB18: other artists, another kind of music, other mixing. MIR-1K's own protocol needs its "
    "825 test clips (benchmarks/mir1k.py --load MODEL runs it); it has not been run."
)
_GENERAL_LIMITS = (
    "Hears up to 8 kHz; above, the mask of the highest octave goes on. Trained on pop and rock for "
    "the most part: choirs, rap, opera, growls and vocoders are rare or absent. Backing vocals "
    "count as vocals. Instruments that sound like a voice (lead synthesizers, violins, saxophones) "
    "leak into the vocals."
)
_MIR1K_LIMITS = (
    "For comparisons by MIR-1K's published protocol. Two singers and karaoke accompaniments are "
    "all that it knows: for songs in general, use uhnet."
)

_SPLEETER_DATA = (
    "starts from the weights of Spleeter (2stems, MIT license, trained by Deezer on songs that are "
    "not public); then trained on pairs: 94 excerpts of 7 s of MUSDB18's training tracks, the 175 "
    "training clips of MIR-1K, 17 whole songs; on 75 songs whose stems Spleeter estimated; remixed "
    "at random with 46 minutes of solo singers and 146 minutes of instrumentals, at speeds of 0.85 "
    "to 1.18"
)
_SPLEETER_TERMS = (
    f"{_GENERAL_TERMS} 14 further songs: CC0, MIT or no stated terms; 75 mixes: CC licenses or no "
    "stated terms. The weights of Spleeter: copyright Deezer SA, MIT license."
)
_SPLEETER_PROTOCOL = (
    f"{_GENERAL_PROTOCOL} Spleeter's own training set is not public: whether it had some of these "
    "songs is not known."
)


@dataclass(frozen=True)
class Shipped:
    """Texts of the card of a model, and its setting.

    Attributes
    ----------
    summary, architecture, data, terms, protocol, limits : str
        Texts of the card.
    overlap : float
        Overlap of the chunks of a pipeline.
    """

    summary: str
    architecture: str
    data: str
    terms: str
    protocol: str
    limits: str
    overlap: float = 0.5


_FRONT_END = "window 2048, hop 512 and 256 mel bands at 16 kHz, chunks of 4 s"
MODELS = {
    "unet": Shipped(
        "For songs in general: the default.",
        "U-Net on the magnitudes of both channels, with windows of 93 ms and segments of 12 s: "
        "Spleeter's network of the vocals, with half of the filters in the deepest layer",
        _SPLEETER_DATA,
        _SPLEETER_TERMS,
        _SPLEETER_PROTOCOL,
        _GENERAL_LIMITS,
    ),
    "uhnet": Shipped(
        "For songs in general, trained on public recordings alone.",
        "UH-Net: U-Net of 16 filters and 4 levels, fed by two bidirectional GRU layers of 128 "
        f"units; {_FRONT_END}",
        _GENERAL_DATA,
        _GENERAL_TERMS,
        f"{_GENERAL_PROTOCOL} {_HALF_OVERLAP}",
        _GENERAL_LIMITS,
        overlap=0.125,
    ),
    "small": Shipped(
        "For old machines and long recordings: like unet, but faster.",
        "U-Net on the magnitudes of both channels up to 5.5 kHz, with windows of 93 ms that "
        "overlap by half, and segments of 12 s: the network of unet before its training, with "
        "fewer filters in the decoder (256, 112, 32, 16 and 10)",
        _SPLEETER_DATA,
        _SPLEETER_TERMS,
        _SPLEETER_PROTOCOL,
        _GENERAL_LIMITS.replace("Hears up to 8 kHz", "Hears up to 5.5 kHz"),
    ),
    "uhnet-mir1k": Shipped(
        "UH-Net for MIR-1K's published protocol.",
        "UH-Net: U-Net of 16 filters and 4 levels, fed by two bidirectional GRU layers of 128 "
        f"units; {_FRONT_END}",
        f"{_MIR1K_DATA}0.7 to 1.4",
        _MIR1K_TERMS,
        _MIR1K_PROTOCOL,
        _MIR1K_LIMITS,
    ),
    "unet-mir1k": Shipped(
        "U-Net for MIR-1K's published protocol.",
        f"U-Net of 16 filters and 4 levels; {_FRONT_END}",
        f"{_MIR1K_DATA}0.85 to 1.18, with voices at further speeds of 0.55 to 1.55, and formants "
        "at 0.85 to 1.2 of their frequencies",
        _MIR1K_TERMS,
        _MIR1K_PROTOCOL,
        _MIR1K_LIMITS,
    ),
}


def main() -> None:
    """Write all models that were trained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of pretrained.py")
    parser.add_argument("--detector", type=Path, required=True, help="file of activity.py")
    parser.add_argument("--results", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="+", default=list(MODELS))
    options = parser.parse_args()
    detector = json.loads(options.detector.read_text())
    for name in options.only:
        package(name, options.models, options.results, detector)


def package(name: str, models: Path, results: Path, detector: dict[str, Any]) -> None:
    """Write one model and its card."""
    shipped = MODELS[name]
    trained = models / f"{name}.safetensors"
    pipeline = load_trained(trained)
    path = PACKAGE / f"{name}.safetensors"
    if isinstance(pipeline, Pipeline):
        # The phase of the mixture as it is, for which the masks were trained: ten iterations cost
        # 0.1 to 0.4 dB (results/held_out.md), and most of the time.
        pipeline.set_params(
            chunk__overlap=shipped.overlap,
            invert__n_iter=0,
            separate__device="auto",
            separate__precision="auto",
        )
        sksep.save(pipeline, path, overwrite=True)
    else:
        path.write_bytes(trained.read_bytes())
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise SystemExit(f"{path.name} has {size / 1e6:.1f} MB; at most 16 may ship.")
    training = json.loads((models / f"{name}.json").read_text())
    fold = models / f"{name}-fold-0.json"
    steps = ""
    if fold.is_file():
        n_steps = json.loads(fold.read_text())["steps"]
        steps = f" for {n_steps} steps"
    card = {
        "name": name,
        "summary": shipped.summary,
        "architecture": f"{shipped.architecture}; {_millions(pipeline)} parameters",
        "training_data": f"{shipped.data}; {_steps(training, models)}",
        "terms": shipped.terms,
        "protocol": shipped.protocol.replace("{steps}", steps),
        "figures": figures(name, results),
        "limits": shipped.limits,
    }
    description = {"card": card, "activity": detector}
    if not isinstance(pipeline, Pipeline):
        description["estimator"] = type(pipeline).__name__
    text = json.dumps(description, indent=1)
    (PACKAGE / f"{name}.json").write_text(text + "\n")
    print(f"{path.name}: {size / 1e6:.1f} MB, {card['figures']}")


def figures(name: str, results: Path) -> dict[str, str]:
    """Figures on recordings that the model, or its folds, were not trained on."""
    rows = json.loads((results / "held_out.json").read_text())["rows"]
    rows = [row for row in rows if row["model"] == name and row["Griffin-Lim iterations"] == 0]
    found = {
        f"{row['test']} ({row['tracks']} tracks)": (
            f"vocals SDR median {row['median SDR']:.2f} dB, mean {row['SDR']:.2f} dB "
            f"(mixture {row['mixture SDR']:.2f} dB), GNSDR {row['GNSDR']:.2f} dB"
        )
        for row in rows
    }
    if rows and rows[0]["folds"]:
        found["instrumentals"] = (
            f"level of what is taken for vocals: median {rows[0]['leakage, median']:.1f} dB, "
            f"one in ten above {rows[0]['leakage, 90th percentile']:.1f} dB"
        )
    return found


def _millions(pipeline: Any) -> str:
    is_pipeline = isinstance(pipeline, Pipeline)
    network = pipeline["separate"].net_.module_ if is_pipeline else pipeline.model_[0]
    count = sum(weights.numel() for weights in network.parameters())
    return f"{count / 1e6:.1f} million"


def _steps(training: dict[str, Any], models: Path) -> str:
    steps = f"{training['steps']} steps of {training['excerpts_per_step']} excerpts"
    if training["resumed"]:
        before = json.loads((models / f"{training['resumed']}.json").read_text())
        steps += f", after {before['steps']} steps on one half of it"
    return f"{steps}, seed {training['seed']}"


if __name__ == "__main__":
    main()
