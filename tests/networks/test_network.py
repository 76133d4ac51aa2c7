"""Losses, gradients and Hessians are exact: differences, closed forms, autograd, each other."""

from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest

from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, ShapeError
from fracsde.networks import MultilayerPerceptron, Network, SoftmaxRegression
from fracsde.networks.kernels import exp_of_negative_array, tanh_array

KINDS = list(
    product([(), (5,), (4, 3), (3, 4, 3)], ["tanh", "relu"], ["cross_entropy", "squared_error"])
)


def example(hidden, activation, objective, *, bias=True, rows=300):
    """A network over more rows than one block holds, and a position with active units."""
    rng = np.random.default_rng(len(hidden) + 10 * len(activation))
    inputs = rng.normal(size=(rows, 4))
    labels = rng.integers(0, 3, rows)
    targets = labels if objective == "cross_entropy" else rng.normal(size=(rows, 3))
    net = Network(
        inputs=inputs,
        targets=targets,
        hidden=hidden,
        activation=activation,
        objective=objective,
        weight_decay=0.1,
        bias=bias,
    )
    return net, 0.7 * rng.normal(size=net.parameters)


def plain_outputs(net, w, inputs):
    """The network's definition, in NumPy."""
    a = inputs
    layers = net.unflatten(w)
    for index, (weights, bias) in enumerate(layers):
        a = a @ weights + (bias if net.bias else 0.0)
        if index < len(layers) - 1:
            a = np.tanh(a) if net.activation == "tanh" else np.maximum(a, 0.0)
    return a


def plain_loss(net, w):
    """The loss's definition, in NumPy."""
    z = plain_outputs(net, w, net.inputs)
    if net.objective == "cross_entropy":
        z = z - z.max(axis=1, keepdims=True)
        data = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), net.targets]
    else:
        data = 0.5 * ((z - net.targets.reshape(z.shape)) ** 2).sum(axis=1)
    return data.mean() + 0.5 * net.weight_decay * w @ w


def slope(function, w, v, h=2e-4):
    """Fourth-order central difference of ``function`` along ``v``."""
    near = function(w + h * v) - function(w - h * v)
    far = function(w + 2 * h * v) - function(w - 2 * h * v)
    return (8 * near - far) / (12 * h)


def kinkless(net, w, v, h=2e-4):
    """Whether no unit changes sign on the stencil, so that differences mean something."""
    if net.activation == "tanh" or not net.hidden:
        return True
    signs = []
    for t in (-2 * h, -h, 0, h, 2 * h):
        a, found = net.inputs, []
        for weights, bias in net.unflatten(w + t * v)[:-1]:
            z = a @ weights + (bias if net.bias else 0.0)
            found.append(z > 0)
            a = np.maximum(z, 0.0)
        signs.append(found)
    return all(np.array_equal(a, b) for s in signs for a, b in zip(s, signs[0], strict=True))


@pytest.mark.parametrize(("hidden", "activation", "objective"), KINDS)
def test_outputs_and_loss_equal_their_definition(hidden, activation, objective) -> None:
    net, w = example(hidden, activation, objective)
    np.testing.assert_allclose(
        net.outputs(w), plain_outputs(net, w, net.inputs), rtol=1e-13, atol=1e-13
    )
    assert abs(net.loss(w) - plain_loss(net, w)) < 1e-13 * net.loss(w)


@pytest.mark.parametrize(("hidden", "activation", "objective"), KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_derivatives_equal_differences(hidden, activation, objective, bias) -> None:
    net, w = example(hidden, activation, objective, bias=bias, rows=20)
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(12):
        v = rng.normal(size=net.parameters)
        v /= np.linalg.norm(v)
        if not kinkless(net, w, v):
            continue
        seen += 1
        # Fifth derivatives times h**4 are near 1e-15, rounding over h near 1e-11.
        assert abs(net.gradient(w) @ v - slope(net.loss, w, v)) < 1e-10
        np.testing.assert_allclose(
            net.hessian_vector_product(w, v), slope(net.gradient, w, v), atol=1e-10
        )
    assert seen >= 3


@pytest.mark.twin
def test_difference_check_rejects_decay_wrong_by_one_in_a_million() -> None:
    net, w = example((5,), "tanh", "cross_entropy", rows=20)
    v = w / np.linalg.norm(w)
    damaged = net.gradient(w) + 1e-6 * net.weight_decay * w
    assert abs(damaged @ v - slope(net.loss, w, v)) > 1e-10


@pytest.mark.parametrize(("hidden", "activation", "objective"), KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_dense_hessian_equals_its_products(hidden, activation, objective, bias) -> None:
    net, w = example(hidden, activation, objective, bias=bias)
    hessian = net.hessian(w)
    columns = net.hessian_vector_product(w, np.eye(net.parameters))
    np.testing.assert_allclose(hessian, columns, atol=1e-13 * np.abs(hessian).max())
    np.testing.assert_array_equal(hessian, hessian.T)


@pytest.mark.twin
def test_product_check_rejects_the_gauss_newton_part_alone() -> None:
    net, w = example((4, 3), "tanh", "cross_entropy", rows=30)
    z = net.outputs(w)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    moved = np.stack([slope(net.outputs, w, e) for e in np.eye(net.parameters)], axis=-1)
    middle = np.einsum("nk,kl->nkl", p, np.eye(3)) - np.einsum("nk,nl->nkl", p, p)
    part = np.einsum("nkp,nkl,nlq->pq", moved, middle, moved) / len(p)
    part += net.weight_decay * np.eye(net.parameters)
    hessian = net.hessian(w)
    assert np.abs(part - hessian).max() > 1e-2 * np.abs(hessian).max()


def test_hessian_of_softmax_regression_equals_its_closed_form() -> None:
    net, w = example((), "tanh", "cross_entropy")
    z = net.outputs(w)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    x = np.hstack([net.inputs, np.ones((len(z), 1))])
    middle = np.einsum("nk,kl->nkl", p, np.eye(3)) - np.einsum("nk,nl->nkl", p, p)
    exact = np.einsum("ni,nj,nkl->ikjl", x, x, middle).reshape(net.parameters, -1) / len(z)
    exact += net.weight_decay * np.eye(net.parameters)
    np.testing.assert_allclose(net.hessian(w), exact, atol=1e-14)


@pytest.mark.parametrize(("hidden", "activation", "objective"), KINDS)
def test_example_gradients_average_to_the_gradient(hidden, activation, objective) -> None:
    net, w = example(hidden, activation, objective)
    each = net.per_example_gradients(w)
    np.testing.assert_allclose(
        each.mean(axis=0) + net.weight_decay * w, net.gradient(w), rtol=1e-12, atol=1e-13
    )
    alone = Network(
        inputs=net.inputs[17:18],
        targets=net.targets[17:18],
        hidden=hidden,
        activation=activation,
        objective=objective,
        classes=3,
    )
    np.testing.assert_allclose(each[17], alone.gradient(w), rtol=1e-12, atol=1e-13)


def test_gradient_noise_is_the_centred_covariance_of_one_example() -> None:
    net, w = example((5,), "tanh", "cross_entropy")
    expected = np.cov(net.per_example_gradients(w).T, bias=True)
    found = net.gradient_noise(w)
    np.testing.assert_allclose(found, expected, atol=1e-15 + 1e-13 * np.abs(expected).max())
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize(("hidden", "activation", "objective"), KINDS)
def test_derivatives_equal_autograd(hidden, activation, objective) -> None:
    torch = pytest.importorskip("torch")
    net, w = example(hidden, activation, objective, rows=40)
    x = torch.tensor(np.array(net.inputs))
    y = torch.tensor(np.array(net.targets))

    def loss(flat):
        a, start = x, 0
        shapes = net.layer_shapes
        for index, (rows, columns) in enumerate(shapes):
            end = start + rows * columns
            a = a @ flat[start:end].reshape(rows, columns) + flat[end : end + columns]
            start = end + columns
            if index < len(shapes) - 1:
                a = torch.tanh(a) if activation == "tanh" else torch.relu(a)
        if objective == "cross_entropy":
            data = torch.nn.functional.cross_entropy(a, y)
        else:
            data = 0.5 * ((a - y) ** 2).sum(dim=1).mean()
        return data + 0.5 * net.weight_decay * flat @ flat

    flat = torch.tensor(w, requires_grad=True)
    gradient = torch.autograd.grad(loss(flat), flat)[0].numpy()
    hessian = torch.autograd.functional.hessian(loss, flat.detach()).numpy()
    np.testing.assert_allclose(net.gradient(w), gradient, atol=1e-13 * np.abs(gradient).max())
    np.testing.assert_allclose(net.hessian(w), hessian, atol=1e-13 * np.abs(hessian).max())


def test_compiled_tanh_and_exponential_equal_numpys() -> None:
    x = np.concatenate([np.linspace(-25, 25, 20001), np.logspace(-300, 1, 500), [0.0, -0.0]])
    out = np.empty_like(x)
    tanh_array(x, out)
    np.testing.assert_allclose(out, np.tanh(x), rtol=1e-15, atol=0)
    y = np.concatenate([-np.logspace(-20, np.log10(700), 5000), [0.0]])
    out = np.empty_like(y)
    exp_of_negative_array(y, out)
    np.testing.assert_allclose(out, np.exp(y), rtol=1e-15, atol=0)


def test_compiled_tanh_and_exponential_keep_what_is_not_finite() -> None:
    out = np.empty(3)
    tanh_array(np.array([np.nan, np.inf, -np.inf]), out)
    np.testing.assert_array_equal(out, [np.nan, 1.0, -1.0])
    exp_of_negative_array(np.array([np.nan, -np.inf, -1e4]), out)
    assert np.isnan(out[0])
    assert np.all(out[1:] < 1e-300)


def test_initial_parameters_are_scaled_by_fan_in() -> None:
    for activation, gain in [("tanh", 1.0), ("relu", 2.0)]:
        net = Network(
            inputs=np.zeros((2, 400)), targets=[0, 1], hidden=(100,), activation=activation
        )
        (weights, bias), (last, _) = net.unflatten(net.initial_parameters(np.random.default_rng(0)))
        # 40 000 normals: standard error of a variance 0.7 %; the gains differ by a factor of 2.
        assert abs(weights.var() * 400 / gain - 1) < 0.05
        assert abs(last.var() * 100 - 1) < 0.5
        assert not bias.any()


def test_accuracy_counts_largest_outputs() -> None:
    net = SoftmaxRegression(inputs=np.eye(2), targets=[0, 1])
    w = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    assert net.accuracy(w) == 1.0
    assert net.accuracy(-w) == 0.0
    assert net.accuracy(w, np.eye(2), [0, 0]) == 0.5


def test_arguments_are_not_modified() -> None:
    net, w = example((4,), "tanh", "cross_entropy")
    v = np.ones((net.parameters, 2))
    before = w.copy()
    net.gradient(w)
    net.hessian(w)
    net.hessian_vector_product(w, v)
    np.testing.assert_array_equal(w, before)
    np.testing.assert_array_equal(v, 1.0)


def test_named_networks_are_special_cases() -> None:
    x, y = np.random.default_rng(0).normal(size=(9, 2)), np.arange(9) % 3
    w = np.linspace(-1, 1, 9)
    regression = SoftmaxRegression(inputs=x, targets=y, weight_decay=0.2)
    general = Network(inputs=x, targets=y, hidden=(), weight_decay=0.2)
    assert regression.loss(w) == general.loss(w)
    assert MultilayerPerceptron(inputs=x, targets=y, hidden=(3,)).layer_shapes == ((2, 3), (3, 3))


X = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"inputs": X * np.nan, "targets": [0, 1, 0]}, NotFiniteError, "inputs"),
        ({"inputs": X, "targets": [0.5, 1, 0]}, InputError, "squared_error"),
        ({"inputs": X, "targets": [-1, 1, 0]}, OutOfRangeError, "from 0"),
        ({"inputs": X, "targets": [0, 1, 2], "classes": 2}, OutOfRangeError, "between 0 and 1"),
        ({"inputs": X, "targets": [0, 1]}, ShapeError, "one label per example"),
        ({"inputs": X[:0], "targets": []}, ShapeError, "at least one example"),
        ({"inputs": X, "targets": [0, 1, 0], "hidden": (0,)}, OutOfRangeError, "hidden"),
        ({"inputs": X, "targets": [0, 1, 0], "activation": "sine"}, InputError, "tanh"),
        ({"inputs": X, "targets": [0, 1, 0], "weight_decay": -1.0}, OutOfRangeError, "decay"),
        (
            {"inputs": X, "targets": np.ones((2, 1)), "objective": "squared_error"},
            ShapeError,
            "one per example",
        ),
        ({"inputs": X, "targets": [0, 1, 0], "hidden": 5}, InputError, r"pass \(5,\)"),
    ],
)
def test_network_refuses_what_does_not_fit(arguments, error, match) -> None:
    with pytest.raises(error, match=match):
        Network(**arguments)


def test_network_refuses_vectors_of_the_wrong_length() -> None:
    net, w = example((4,), "tanh", "cross_entropy")
    with pytest.raises(ShapeError, match="flat vector"):
        net.loss(w[:-1])
    with pytest.raises(ShapeError, match="one per parameter"):
        net.hessian_vector_product(w, w[:-1])
    with pytest.raises(ShapeError, match="SoftmaxRegression"):
        MultilayerPerceptron(inputs=X, targets=[0, 1, 0], hidden=())


def test_perceptron_refuses_a_bare_width_and_takes_any_iterable() -> None:
    with pytest.raises(InputError, match=r"pass \(5,\)"):
        MultilayerPerceptron(inputs=X, targets=[0, 1, 0], hidden=5)
    widths = (width for width in (5, 4))
    assert MultilayerPerceptron(inputs=X, targets=[0, 1, 0], hidden=widths).hidden == (5, 4)


def test_outputs_of_no_examples_are_no_rows() -> None:
    net, w = example((4,), "tanh", "cross_entropy")
    assert net.outputs(w, np.empty((0, net.inputs.shape[1]))).shape == (0, net.layer_shapes[-1][1])


def test_many_classes_cost_memory_in_proportion_to_the_examples() -> None:
    tracemalloc.start()
    try:
        Network(inputs=X, targets=[0, 1, 0], classes=3000, hidden=())
        assert tracemalloc.get_traced_memory()[1] < 8 * 3000 * 100
    finally:
        tracemalloc.stop()
