"""
Searching hyper-parameters
==========================

Because a separator is a :class:`~sklearn.pipeline.Pipeline` and a track is a sample, the searches
of scikit-learn work without changes. Two things need care. The score is the SDR of the vocals
(:data:`~sksep.metrics.sdr_scorer`), not the loss. Songs of one singer must not be on both sides of
a split, or the search rewards models that memorize singers.
"""

from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from sksep import GriffinLimInverter, MaskBuilder, MelChunker, RobustPCASeparator, UNetSeparator
from sksep.datasets import make_songs
from sksep.metrics import sdr_scorer
from sksep.plotting import SearchDisplay

songs = make_songs(8, duration=3.0, random_state=0)
print(songs.groups)

# %%
# One parameter
# -------------
#
# Robust PCA takes the sparse part of the spectrogram for vocals. ``sparsity`` sets how sparse it
# must be: a higher value takes less for vocals. Nothing is trained, so a search takes seconds.
# :class:`~sklearn.model_selection.GroupKFold` keeps the songs of each singer together; the data
# sets of ``sksep`` have their names in ``groups``.

robust_pca = Pipeline(
    [
        ("chunk", MelChunker(n_fft=1024, hop_length=256, n_mels=128)),
        ("separate", RobustPCASeparator(max_iter=20)),
    ]
)
search = GridSearchCV(
    robust_pca,
    {"separate__sparsity": [0.5, 1.0, 1.5, 2.0]},
    scoring=sdr_scorer,
    cv=GroupKFold(4),
)
search.fit(songs.mixtures, songs.vocals, groups=songs.groups)
print(search.best_params_, f"{search.best_score_:.2f} dB")

# %%
# The picture shows the mean of the folds, and their spread. If the spread is as large as the
# differences, the "best" value is a matter of chance: take more songs instead of a finer grid.

_ = SearchDisplay.from_estimator(search)

# %%
# Two parameters
# --------------
#
# The parameters of all steps can be searched together. Here they are those of a small U-Net, which
# is trained again for each cell and each fold, for 16 steps only. Real trainings are long: set
# ``n_jobs``, and let the pipeline's ``memory`` keep the results of the first steps.

unet = Pipeline(
    [
        ("chunk", MelChunker(n_fft=2048, hop_length=512, n_mels=64, n_frames=16)),
        ("mask", MaskBuilder()),
        (
            "separate",
            UNetSeparator(
                n_levels=2,
                dropout=0.0,
                loss="snr",
                optimizer="adamw",
                schedule="one_cycle",
                batch_size=8,
                excerpts_per_epoch=128,
                max_epochs=1,
                validation_fraction=0.0,
                random_state=0,
            ),
        ),
        ("invert", GriffinLimInverter(n_iter=0)),
    ]
)
search = GridSearchCV(
    unet,
    {"separate__lr": [1e-3, 1e-2, 1e-1], "separate__n_filters": [4, 8]},
    scoring=sdr_scorer,
    cv=GroupKFold(2),
)
search.fit(songs.mixtures, songs.vocals, groups=songs.groups)
print(search.best_params_, f"{search.best_score_:.2f} dB")
_ = SearchDisplay.from_estimator(search)

# %%
# Here the learning rate matters more than the number of filters. If the best value lies at the edge
# of a grid, widen the grid. The best value for 16 steps need not be the best for thousands.
#
# Use the result
# --------------
#
# ``best_estimator_`` is the pipeline with the best parameters, trained on all songs. It is ready to
# ``predict``, or to be saved (:func:`sksep.save`). Its score on the songs of the search does not
# tell its score on other songs; keep some singers apart to measure that.

test = make_songs(4, duration=3.0, random_state=1)
print(f"{search.best_estimator_.score(test.mixtures, test.vocals):.2f} dB on other singers")
