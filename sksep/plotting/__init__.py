"""Pictures and players, as Display objects like those of scikit-learn."""

from sksep.plotting._audio import AudioDisplay
from sksep.plotting._embeddings import EmbeddingDisplay
from sksep.plotting._loss_curves import LossCurveDisplay
from sksep.plotting._masks import MaskDisplay
from sksep.plotting._scores import ScoreDisplay
from sksep.plotting._search import SearchDisplay
from sksep.plotting._spectrograms import SpectrogramDisplay

__all__ = [
    "AudioDisplay",
    "EmbeddingDisplay",
    "LossCurveDisplay",
    "MaskDisplay",
    "ScoreDisplay",
    "SearchDisplay",
    "SpectrogramDisplay",
]
