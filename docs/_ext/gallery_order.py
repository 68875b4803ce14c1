"""The order of the gallery: from the first pipeline to what builds on it."""

from __future__ import annotations

EXAMPLES = (
    "plot_pipeline.py",
    "plot_karaoke.py",
    "plot_four_stems.py",
    "plot_compare_separators.py",
    "plot_grid_search.py",
    "plot_evaluation.py",
    "plot_oracle.py",
    "plot_griffin_lim.py",
    "plot_kmeans.py",
    "plot_without_vocals.py",
    "plot_remixing.py",
    "plot_fine_tuning.py",
    "plot_distillation.py",
    "plot_own_module.py",
    "plot_logging.py",
    "plot_streaming.py",
)


class Order:
    """A sort key of sphinx-gallery; an example that is not listed fails the build."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> int:
        return EXAMPLES.index(name)
