"""Small networks whose loss and its derivatives are exact, and many replicas of SGD on them.

Part of the evidence wing: what is measured here borrows nothing from the theory it tests.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> net = SoftmaxRegression(inputs=rng.normal(size=(60, 2)), targets=np.arange(60) % 3,
...                         weight_decay=0.1)
>>> minimum = train_to_minimum(net, np.zeros(net.parameters))
>>> minimum.gradient_norm < 1e-10, minimum.negative_eigenvalues
(True, 0)
>>> run = run_sgd(net, minimum.parameters, learning_rate=0.1, batch_size=10, steps=100,
...               replicas=4, seed=1, directions=np.eye(net.parameters)[:, :2])
>>> run.projections.values.shape
(4, 101, 2)
"""

from fracsde.networks.named import MultilayerPerceptron, SoftmaxRegression
from fracsde.networks.network import Network
from fracsde.networks.sampling import batch_indices
from fracsde.networks.sgd import SGDRun, run_sgd
from fracsde.networks.training import Minimum, train_to_minimum

__all__ = [
    "Minimum",
    "MultilayerPerceptron",
    "Network",
    "SGDRun",
    "SoftmaxRegression",
    "batch_indices",
    "run_sgd",
    "train_to_minimum",
]
