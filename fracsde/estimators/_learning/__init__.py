"""What :func:`fracsde.estimators.learning_coefficient` is made of."""
