"""Networks, losses and spectral mathematics in torch. Nothing here depends on scikit-learn."""
