"""Fixtures and markers of the tests."""

import os
from pathlib import Path

import pytest

# These modules are no test modules, so pytest would not explain their failures.
pytest.register_assert_rewrite("sksep.utils._estimator_checks")


@pytest.fixture(scope="session")
def data_home() -> Path:
    """Folder of the recordings. A test that asks for it is skipped if there are none."""
    folder = os.environ.get("SKSEP_DATA_HOME")
    if not folder:
        pytest.skip("no recordings: set SKSEP_DATA_HOME to their folder")
    if not Path(folder).is_dir():
        pytest.fail(f"SKSEP_DATA_HOME is set to {folder}, which is no folder")
    return Path(folder)


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
