"""Fixtures and markers of the tests."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# These modules are no test modules, so pytest would not explain their failures.
pytest.register_assert_rewrite("helpers", "sksep.utils._estimator_checks")


@pytest.fixture(scope="session")
def data_home() -> Path:
    """Folder of the recordings. A test that asks for it is skipped if there are none."""
    folder = os.environ.get("SKSEP_DATA_HOME")
    if not folder:
        pytest.skip("no recordings: set SKSEP_DATA_HOME to their folder")
    if not Path(folder).is_dir():
        pytest.fail(f"SKSEP_DATA_HOME is set to {folder}, which is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def songs() -> Any:
    """Four short songs of two singers, whose arrays cannot be written to."""
    from sksep.datasets import make_songs

    songs = make_songs(4, duration=1.0, random_state=0)
    for array in [*songs.mixtures, *songs.vocals, *songs.accompaniments]:
        array.flags.writeable = False
    return songs


@pytest.fixture(scope="session")
def chunks(songs: Any) -> Any:
    """The songs through a small front end."""
    from sksep import MelChunker

    return MelChunker(n_fft=512, n_mels=24, n_frames=20).fit_transform(songs.mixtures)


@pytest.fixture(scope="session")
def batch(songs: Any, chunks: Any) -> Any:
    """The songs with targets."""
    from sksep import MaskBuilder

    return MaskBuilder().fit_transform(chunks, songs.vocals)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for torch: sums of other numbers of threads differ in their last digits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    cuda_items = [item for item in items if item.get_closest_marker("cuda")]
    if cuda_items:
        import torch

        if not torch.cuda.is_available():
            for item in cuda_items:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    for item in items:
        if "data_home" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.recordings)


@pytest.fixture(scope="session")
def museval_scores() -> Any:
    """Scores by museval of sources with channels before samples."""
    package = importlib.util.find_spec("museval")
    if package is None:
        pytest.skip("museval is not installed")
    assert package.origin is not None
    # The package cannot be imported without ffmpeg, although its metrics do not need it.
    file = Path(package.origin).with_name("metrics.py")
    spec: Any = importlib.util.spec_from_file_location("museval_metrics", file)
    metrics = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(metrics)

    def scores(references: Any, estimates: Any, window: int, hop: int) -> Any:
        import numpy as np

        samples_first = (np.moveaxis(sources, 1, 2) for sources in (references, estimates))
        return metrics.bss_eval(*samples_first, window=window, hop=hop)[:4]

    return scores
