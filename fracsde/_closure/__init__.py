"""What :mod:`fracsde.closure` is made of."""
