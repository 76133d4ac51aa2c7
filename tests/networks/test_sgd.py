"""The compiled loop equals a readable one; cuts, threads and company do not change a bit."""

from __future__ import annotations

from itertools import product

import numba
import numpy as np
import pytest

from fracsde.errors import (
    ComputationError,
    GridError,
    InputError,
    NotFiniteError,
    OutOfRangeError,
    SamplingError,
    ShapeError,
)
from fracsde.networks import Network, SoftmaxRegression, batch_indices, run_sgd, sgd
from fracsde.networks.sampling import SAMPLING
from fracsde.status import Status


def example(hidden=(5,), activation="tanh", objective="cross_entropy", bias=True):
    rng = np.random.default_rng(7)
    inputs, labels = rng.normal(size=(23, 4)), rng.integers(0, 3, 23)
    targets = labels if objective == "cross_entropy" else rng.normal(size=(23, 3))
    net = Network(
        inputs=inputs,
        targets=targets,
        hidden=hidden,
        activation=activation,
        objective=objective,
        weight_decay=0.05,
        bias=bias,
    )
    return net, net.initial_parameters(rng)


def plain_gradient(net, w, rows):
    """Mean gradient of a batch plus weight decay: backpropagation in NumPy."""
    layers, acts = net.unflatten(w), [net.inputs[rows]]
    for index, (weights, bias) in enumerate(layers):
        z = acts[-1] @ weights + (bias if net.bias else 0.0)
        if index < len(layers) - 1:
            z = np.tanh(z) if net.activation == "tanh" else np.maximum(z, 0.0)
        acts.append(z)
    if net.objective == "cross_entropy":
        p = np.exp(acts[-1] - acts[-1].max(axis=1, keepdims=True))
        delta = p / p.sum(axis=1, keepdims=True) - np.eye(3)[net.targets[rows]]
    else:
        delta = acts[-1] - net.targets[rows]
    parts = []
    for index in range(len(layers) - 1, -1, -1):
        own = [(acts[index].T @ delta).ravel()] + ([delta.sum(axis=0)] if net.bias else [])
        parts.append(np.concatenate(own) / len(rows))
        if index:
            a = acts[index]
            slope = 1 - a**2 if net.activation == "tanh" else (a > 0).astype(float)
            delta = (delta @ layers[index][0].T) * slope
    return np.concatenate(parts[::-1]) + net.weight_decay * w


def plain_sgd(net, start, batches, rate, momentum, damage=""):
    """Heavy ball, as the module's equation has it."""
    w, v, path = start.copy(), np.zeros_like(start), [start.copy()]
    for rows in batches:
        g = plain_gradient(net, w, rows)
        if damage == "decay":
            g = g - 0.01 * net.weight_decay * w
        if damage == "nesterov":
            g = plain_gradient(net, w + momentum * v, rows)
        v = momentum * v - rate * g
        w = w + (v if damage != "late" else v / (1 + 1e-9))
        path.append(w.copy())
    return np.array(path), v


ARGS = {"learning_rate": 0.2, "momentum": 0.8, "batch_size": 6, "steps": 40, "seed": 5}


def loop_error(net, start, sampling, damage=""):
    run = run_sgd(net, start, sampling=sampling, replicas=3, record_positions=range(41), **ARGS)
    errors = []
    for replica in range(3):
        batches = batch_indices(23, 6, 40, seed=5, sampling=sampling, replica=replica)
        path, velocity = plain_sgd(net, start, batches, 0.2, 0.8, damage)
        errors.append(np.abs(run.positions.values[replica] - path).max())
        errors.append(np.abs(run.final_velocities[replica] - velocity).max())
    return max(errors)


@pytest.mark.parametrize(
    ("hidden", "activation", "objective", "sampling"),
    list(
        product([(), (5,), (4, 3)], ["tanh", "relu"], ["cross_entropy", "squared_error"], SAMPLING)
    ),
)
def test_compiled_loop_equals_readable_loop(hidden, activation, objective, sampling) -> None:
    net, start = example(hidden, activation, objective)
    assert loop_error(net, start, sampling) < 1e-12


def test_compiled_loop_equals_readable_loop_without_biases() -> None:
    net, start = example(bias=False)
    assert loop_error(net, start, "shuffled") < 1e-12


@pytest.mark.twin
@pytest.mark.parametrize("damage", ["decay", "nesterov", "late"])
def test_loop_check_rejects_damage(damage) -> None:
    net, start = example()
    assert loop_error(net, start, "with_replacement", damage) > 1e-12


@pytest.mark.parametrize("sampling", SAMPLING)
def test_continued_run_equals_uninterrupted_run_bit_for_bit(sampling) -> None:
    net, start = example()
    rng = np.random.default_rng(1)
    common = {
        **ARGS,
        "sampling": sampling,
        "directions": rng.normal(size=(net.parameters, 3)),
        "origin": start,
        "project_every": 3,
        "first_projection": 4,
    }
    marks = [0, 1, 13, 14, 40]
    whole = run_sgd(net, start, replicas=4, record_positions=marks, **common)
    first = run_sgd(net, start, replicas=4, record_positions=[0, 1, 13], **{**common, "steps": 13})
    rest = run_sgd(
        net,
        first.final_positions,
        start_velocity=first.final_velocities,
        first_step=13,
        record_positions=[14, 40],
        **{**common, "steps": 27},
    )
    np.testing.assert_array_equal(rest.final_positions, whole.final_positions)
    np.testing.assert_array_equal(rest.final_velocities, whole.final_velocities)
    for kind in ("positions", "projections"):
        parts = [getattr(run, kind) for run in (first, rest)]
        np.testing.assert_array_equal(
            np.concatenate([part.values for part in parts], axis=1), getattr(whole, kind).values
        )
        np.testing.assert_array_equal(
            np.concatenate([part.times for part in parts]), getattr(whole, kind).times
        )
    assert whole.projections.times.tolist() == list(range(4, 41, 3))
    assert whole.positions.times.tolist() == marks


def test_cutting_into_calls_changes_nothing_and_reports_progress(monkeypatch) -> None:
    net, start = example()
    directions, seen = np.eye(net.parameters)[:, :2], []
    long = run_sgd(net, start, replicas=2, directions=directions, **ARGS)
    monkeypatch.setattr(sgd, "_CALL_SECONDS", 0.0)
    short = run_sgd(
        net, start, replicas=2, directions=directions, **ARGS, progress=lambda *a: seen.append(a)
    )
    assert seen == [(k, 40) for k in range(1, 41)]
    np.testing.assert_array_equal(long.projections.values, short.projections.values)
    np.testing.assert_array_equal(long.final_positions, short.final_positions)


def test_results_depend_neither_on_threads_nor_on_company() -> None:
    net, start = example()
    threads = numba.get_num_threads()
    together = run_sgd(net, start, replicas=5, **ARGS)
    try:
        numba.set_num_threads(1)
        alone = run_sgd(net, start, replicas=5, **ARGS)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(together.final_positions, alone.final_positions)
    later = run_sgd(net, start, replicas=2, first_replica=3, **ARGS)
    np.testing.assert_array_equal(later.final_positions, together.final_positions[3:])
    assert not np.array_equal(together.final_positions[0], together.final_positions[1])


def test_projections_are_products_of_positions() -> None:
    net, start = example()
    rng = np.random.default_rng(0)
    directions, origin = rng.normal(size=(net.parameters, 4)), rng.normal(size=net.parameters)
    starts = start + 0.1 * rng.normal(size=(3, net.parameters))
    kept = starts.copy()
    run = run_sgd(
        net, starts, directions=directions, origin=origin, record_positions=range(41), **ARGS
    )
    expected = (run.positions.values - origin) @ directions
    np.testing.assert_allclose(run.projections.values, expected, atol=1e-12)
    np.testing.assert_array_equal(starts, kept)
    np.testing.assert_array_equal(run.positions.values[:, 0], starts)
    np.testing.assert_array_equal(run.positions.values[:, -1], run.final_positions)
    assert run.status is Status.SUCCESS


def whitened_square(net, w, batch, sampling, replicas):
    """Squared whitened deviation of each replica's first gradient; mean P if noise is C / B."""
    run = run_sgd(
        net,
        w,
        learning_rate=1.0,
        batch_size=batch,
        steps=1,
        replicas=replicas,
        seed=9,
        sampling=sampling,
    )
    noise = (w - run.final_positions) - net.gradient(w)
    values, vectors = np.linalg.eigh(net.gradient_noise(w) / batch)
    kept = values > 1e-10 * values[-1]
    return ((noise @ vectors[:, kept]) ** 2 / values[kept]).sum(axis=1) / kept.sum(), noise


FACTORS = {
    "with_replacement": 1.0,
    "without_replacement": (23 - 8) / (23 - 1),
    "shuffled": (23 - 8) / (23 - 1),
}


@pytest.mark.parametrize("sampling", SAMPLING)
def test_batch_gradient_has_the_covariance_of_its_sampling(sampling) -> None:
    # 40 000 replicas: standard error of the ratio 0.2 %, the factors differ by 32 %.
    net, start = example(hidden=())
    squares, noise = whitened_square(net, start, 8, sampling, 40_000)
    error = squares.std() / np.sqrt(len(squares))
    assert abs(squares.mean() - FACTORS[sampling]) < 5.3 * error
    spread = np.cov(noise.T, bias=True)
    expected = FACTORS[sampling] * net.gradient_noise(start) / 8
    assert np.linalg.norm(spread - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.twin
@pytest.mark.parametrize("sampling", SAMPLING)
def test_covariance_check_rejects_the_other_factor(sampling) -> None:
    net, start = example(hidden=())
    squares, _ = whitened_square(net, start, 8, sampling, 40_000)
    wrong = FACTORS["shuffled" if sampling == "with_replacement" else "with_replacement"]
    error = squares.std() / np.sqrt(len(squares))
    assert abs(squares.mean() - wrong) > 5.3 * error


def epoch_spread(sampling):
    """Spread over replicas of the mean gradient of one epoch, over that of one batch."""
    rng = np.random.default_rng(7)
    net = SoftmaxRegression(inputs=rng.normal(size=(24, 4)), targets=rng.integers(0, 3, 24))
    run = run_sgd(
        net, np.zeros(net.parameters), learning_rate=1e-6, batch_size=6, steps=4, replicas=200,
        seed=1, sampling=sampling, record_positions=[1, 4],
    )  # fmt: skip
    one, epoch = run.positions.values[:, 0], run.positions.values[:, 1]
    return float(np.linalg.norm(epoch.std(axis=0)) / np.linalg.norm(one.std(axis=0)))


def test_noise_of_a_shuffled_epoch_cancels() -> None:
    # What is left is of second order in the rate, 1e-6.
    assert epoch_spread("shuffled") < 1e-5


@pytest.mark.twin
@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
def test_noise_of_an_epoch_does_not_cancel_otherwise(sampling) -> None:
    assert epoch_spread(sampling) > 1.0


def test_divergence_is_reported_and_the_others_are_kept() -> None:
    net, start = example(hidden=(), objective="squared_error")
    starts = np.stack([start, 1e300 * start, start])
    args = {**ARGS, "learning_rate": 0.01, "directions": np.eye(net.parameters)}
    with pytest.raises(ComputationError, match="1 of 3 replicas diverged, replica 1"):
        run_sgd(net, starts, **{**args, "learning_rate": 1e9, "steps": 1})
    run = run_sgd(net, starts, **{**args, "learning_rate": 1.0, "steps": 300}, throw=False)
    assert run.status is Status.NOT_FINITE
    assert run.diverged_at[1] > 0
    assert run.chains.tolist() == np.flatnonzero(run.diverged_at < 0).tolist()
    if run.chains.size:
        assert run.projections.chains == run.chains.size
    fine = run_sgd(net, starts[[0, 2]], **args)
    assert not fine.diverged.any()


def test_relu_does_not_hide_what_is_not_finite() -> None:
    net, start = example(activation="relu", objective="squared_error")
    run = run_sgd(
        net, start, learning_rate=1e200, batch_size=4, steps=9, replicas=1, seed=1, throw=False
    )
    assert run.diverged_at[0] > 0
    assert run.positions is None
    assert run.projections is None


BASE = {"learning_rate": 0.1, "batch_size": 4, "steps": 10, "seed": 0}


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"learning_rate": 0.0}, OutOfRangeError, "learning_rate"),
        ({"momentum": 1.0}, OutOfRangeError, "momentum"),
        ({"momentum": -0.1}, OutOfRangeError, "momentum"),
        ({"batch_size": 24, "sampling": "shuffled"}, SamplingError, "24 but the data has 23"),
        ({"sampling": "other"}, InputError, "with_replacement"),
        ({"steps": 0}, OutOfRangeError, "steps"),
        ({"record_positions": [3, 3]}, GridError, "increase"),
        ({"record_positions": 5}, InputError, r"pass \(5,\)"),
        ({"record_positions": [11]}, GridError, "between 0 and 10"),
        ({"record_positions": [5], "first_step": 5}, GridError, "between 6 and 15"),
        ({"directions": np.eye(3)}, ShapeError, "one column per direction"),
        ({"origin": np.zeros(2)}, ShapeError, "origin"),
        ({"start_velocity": np.zeros(2)}, ShapeError, "start_velocity"),
        ({"replicas": 0}, OutOfRangeError, "replicas"),
        ({"seed": None}, InputError, "seed"),
    ],
)
def test_run_refuses_what_does_not_fit(change, error, match) -> None:
    net, start = example()
    with pytest.raises(error, match=match):
        run_sgd(net, start, **{**BASE, **change})


def test_run_refuses_starts_that_do_not_fit() -> None:
    net, start = example()
    with pytest.raises(ShapeError, match="for all replicas"):
        run_sgd(net, start[:-1], **BASE)
    with pytest.raises(ShapeError, match=r"\(3, "):
        run_sgd(net, np.stack([start, start]), replicas=3, **BASE)
    with pytest.raises(NotFiniteError, match="start"):
        run_sgd(net, start * np.nan, **BASE)
    with pytest.raises(GridError, match="first_projection"):
        run_sgd(net, start, directions=np.eye(net.parameters), first_projection=11, **BASE)
