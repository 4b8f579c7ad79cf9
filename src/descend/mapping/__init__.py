"""Maps: where in a plane of two hyperparameters training works."""
