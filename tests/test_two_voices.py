"""Two voices of one kind. Neither is the accompaniment, so masks may have any order."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from sksep import HybridClusteringSeparator, MaskBuilder, MelChunker
from sksep.metrics import bss_eval
from sksep.training import Augmentation

SAMPLE_RATE = 8000


def voice(lowest, random):
    """Three seconds of notes within an octave, of a harmonic tone with vibrato."""
    notes = lowest * 2 ** random.uniform(0, 1, size=8)
    envelope = np.hanning(3 * SAMPLE_RATE // 8) ** 0.5
    time = np.arange(len(envelope)) / SAMPLE_RATE
    parts = []
    for note in notes:
        phase = 2 * np.pi * note * time + 1.5 * np.sin(2 * np.pi * 5.5 * time)
        harmonics = [np.sin(k * phase) / k for k in range(1, 7) if k * note < SAMPLE_RATE / 2.2]
        parts.append(envelope * random.uniform(0.5, 1.0) * np.sum(harmonics, axis=0))
    return (0.1 * np.concatenate(parts)).astype(np.float32)


def duets(count, seed):
    """Both voices of each duet, in random order."""
    random = np.random.default_rng(seed)
    pairs = [(voice(110.0, random), voice(330.0, random)) for _ in range(count)]
    return [pair[:: random.choice([-1, 1])] for pair in pairs]


def gains(pairs, estimates):
    """SDR of both voices minus the mixture's, in the better order, for each duet."""
    rows = []
    for (first, second), estimate in zip(pairs, estimates, strict=True):
        mixture, voices = first + second, np.stack([first, second])
        orders = ([estimate, mixture - estimate], [mixture - estimate, estimate])
        scores = [bss_eval(voices, np.stack(order)).sdr for order in orders]
        before = bss_eval(voices, np.stack([mixture, mixture])).sdr
        rows.append(max(scores, key=np.mean) - before)
    return np.array(rows)


def make(**parameters):
    separator = HybridClusteringSeparator(
        embedding_dim=8,
        hidden_size=32,
        n_layers=2,
        dropout=0.0,
        optimizer="adam",
        lr=5e-3,
        batch_size=8,
        max_epochs=12,
        excerpts_per_epoch=32,
        validation_fraction=0.0,
        augmentation=Augmentation(true_pairs=0.0, vocal_free=0.0),
        random_state=0,
        **parameters,
    )
    front_end = {"n_fft": 512, "hop_length": 128, "n_mels": 64, "n_frames": 64}
    return make_pipeline(MelChunker(sample_rate=SAMPLE_RATE, **front_end), MaskBuilder(), separator)


def test_two_voices_are_separated():
    train, test = duets(8, seed=0), duets(3, seed=1)
    pipeline = make(permutation_invariant=True)
    pipeline.fit([sum(pair) for pair in train], [pair[0] for pair in train])
    estimates = pipeline.predict([sum(pair) for pair in test])
    assert gains(test, estimates).mean() > 5.0
    assert gains(test, estimates).min() > 0.0
    # With one fixed order, the loss cannot be lower than that of masks of one half.
    assert pipeline[-1].loss_curve_[-1] < 0.6 * pipeline[-1].loss_curve_[0]


def test_the_mask_head_is_refused():
    pair = duets(1, seed=0)[0]
    with pytest.raises(ValueError, match='output="clusters"'):
        make(permutation_invariant=True, output="mask").fit([sum(pair)], [pair[0]])


def test_masks_in_any_order_are_learned_faster():
    train = duets(8, seed=0)
    losses = {}
    for invariant in (True, False):
        pipeline = make(alpha=0.0, permutation_invariant=invariant)
        pipeline.set_params(
            hybridclusteringseparator__augmentation__true_pairs=1.0,
            hybridclusteringseparator__max_epochs=5,
        )
        pipeline.fit([sum(pair) for pair in train], [pair[0] for pair in train])
        losses[invariant] = pipeline[-1].loss_curve_[-1]
    # With a fixed order, only duets that were learned by heart get below ln 2 = 0.69.
    assert losses[True] < 0.7 * losses[False]
