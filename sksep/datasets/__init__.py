"""Synthetic songs, loaders of data sets, remixing and splitting."""

from sksep.datasets._dsd100 import load_dsd100
from sksep.datasets._files import load_files
from sksep.datasets._folder import load_folder
from sksep.datasets._mir1k import load_mir1k
from sksep.datasets._musdb18 import load_musdb18
from sksep.datasets._remix import remix
from sksep.datasets._songs import make_songs
from sksep.datasets._split import train_val_test_split

__all__ = [
    "load_dsd100",
    "load_files",
    "load_folder",
    "load_mir1k",
    "load_musdb18",
    "make_songs",
    "remix",
    "train_val_test_split",
]
