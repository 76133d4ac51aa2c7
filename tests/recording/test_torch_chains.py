"""A torch model at many positions at once equals the same model at each."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.estimators import learning_coefficient
from fracsde.networks import Network

torch = pytest.importorskip("torch")

from fracsde.recording.torch import TorchLoss  # noqa: E402

torch.set_num_threads(1)


def model_and_network(seed):
    """The same perceptron twice, with the same parameters in each one's own order."""
    rng = np.random.default_rng(seed)
    inputs, labels = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    net = Network(inputs=inputs, targets=labels, hidden=(5,), weight_decay=0.1)
    start = net.initial_parameters(rng)
    layers = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)
    model = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1]).double()
    with torch.no_grad():
        for layer, (weights, bias) in zip(layers, net.unflatten(start), strict=True):
            layer.weight.copy_(torch.tensor(weights.T.copy()))
            layer.bias.copy_(torch.tensor(bias.copy()))
    loss = TorchLoss(
        model, torch.nn.functional.cross_entropy, inputs, labels, weight_decay=0.1, chunk=7
    )
    return loss, net, start


def test_exact_many_positions_are_each_position(seed):
    loss, _, _ = model_and_network(seed)
    w = loss.initial_parameters * np.array([[1.0], [0.3], [-2.0]])
    values, slopes = loss.losses_and_gradients(w)
    for row, value, slope in zip(w, values, slopes, strict=True):
        one, gradient = loss.loss_and_gradient(row)
        np.testing.assert_allclose(value, one, rtol=1e-13)
        np.testing.assert_allclose(slope, gradient, atol=1e-14)


def test_exact_batches_are_means_over_their_examples(seed):
    loss, net, start = model_and_network(seed)
    w = loss.initial_parameters * np.array([[1.0], [0.5]])
    rows = np.random.default_rng(seed).integers(0, 30, (2, 6))
    values, slopes = loss.batch_losses_and_gradients(w, rows)
    for number, scale in enumerate((1.0, 0.5)):
        each = loss.per_example_gradients(w[number])[rows[number]]
        np.testing.assert_allclose(slopes[number], each.mean(0) + 0.1 * w[number], atol=1e-14)
        decay = 0.05 * w[number] @ w[number]
        mean = net.example_losses(scale * start)[rows[number]].mean()
        np.testing.assert_allclose(values[number], mean + decay, rtol=1e-12)


@pytest.mark.parametrize("batch", [None, 8])
def test_routes_agree_torch_and_compiled_networks_have_one_coefficient(batch, seed):
    """The same law from two engines; parameters lie in another order, so not the same numbers."""
    loss, net, start = model_and_network(seed)
    options = {"n_beta": 30.0, "localization": 5.0, "chains": 16, "draws": 150, "burn_in": 100}
    options |= {"sampler": "sgld", "batch_size": batch, "step": 0.02} if batch else {}
    one = learning_coefficient(loss, loss.initial_parameters, rng=seed, **options)
    two = learning_coefficient(net, start, rng=seed + 1, **options)
    assert abs(one.value - two.value)[0] < 6 * np.hypot(one.stderr, two.stderr)[0]
