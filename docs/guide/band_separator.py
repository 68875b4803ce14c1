"""A separator that gives every band of the spectrogram one share for the vocals."""

import numpy as np

from sksep.base import BaseSeparator, training_batch


class BandSeparator(BaseSeparator):
    """Let as much of each band pass as is singing in the training songs."""

    def __init__(self, exponent=1.0):
        self.exponent = exponent

    def fit(self, X, y=None):
        batch = training_batch(X, user="BandSeparator")
        masks = np.concatenate([record.targets.proportion_mask for record in batch])
        weights = np.concatenate([record.targets.weights for record in batch])
        self.shares_ = np.average(masks, axis=0, weights=weights)
        self.front_end_ = batch[0].front_end
        return self

    def _estimate_mask(self, record):
        return np.broadcast_to(self.shares_**self.exponent, record.spectrogram.shape)
