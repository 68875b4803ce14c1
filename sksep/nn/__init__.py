"""Networks, losses and spectral maths in torch; nothing here knows scikit-learn."""
