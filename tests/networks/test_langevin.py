"""Compiled Langevin chains equal the readable ones; cuts, threads and company change no bit."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fracsde.backends.langevin import Chains, Kernel, Law, Records
from fracsde.backends.langevin_reference import advance
from fracsde.backends.philox import seed_key
from fracsde.estimators import FunctionLoss, learning_coefficient
from fracsde.estimators._learning.batches import batch_rows
from fracsde.estimators._learning.engine import Plan
from fracsde.networks import Network, batch_indices
from tests.support.exact import close
from tests.support.laws import follows

KEY = seed_key(11)
STEPS, CHAINS = 40, 3


def network(activation="tanh", objective="cross_entropy", decay=0.05):
    rng = np.random.default_rng(7)
    inputs, labels = rng.normal(size=(23, 4)), rng.integers(0, 3, 23)
    net = Network(
        inputs=inputs,
        targets=labels if objective == "cross_entropy" else rng.normal(size=(23, 3)),
        hidden=(5,),
        activation=activation,
        objective=objective,
        weight_decay=decay,
    )
    return net, net.initial_parameters(rng)


def as_functions(net):
    """The network's loss without its compiled chains, batches by per-example gradients."""

    def on_batch(w, rows):
        means = []
        for row, batch in zip(w, rows, strict=True):
            decay = net.weight_decay
            value = net.example_losses(row)[batch].mean() + 0.5 * decay * row @ row
            gradient = net.per_example_gradients(row)[batch].mean(axis=0) + decay * row
            means.append((value, gradient))
        return np.array([value for value, _ in means]), np.array([g for _, g in means])

    return FunctionLoss(
        value=net.loss,
        gradient=net.gradient,
        hessian=net.hessian,
        on_batch=on_batch,
        parameters=net.parameters,
        examples=net.examples,
    )


def law_of(w, metric, seed=3):
    rng, size = np.random.default_rng(seed), len(w)
    if metric == "matrix":
        return Law(7.0, 2.0, w, np.eye(size) + 0.1 * rng.normal(size=(size, size)), True)
    scale = np.ones((1, size)) if metric == "none" else rng.uniform(0.5, 2.0, (1, size))
    return Law(7.0, 2.0, w, scale, False)


def kernel_of(sampler, batch=0, tune=False):
    leaps = 4 if sampler == "hmc" else 1
    return Kernel(sampler != "sgld", leaps, tune, 0.6, batch, 0, *KEY)


def at_start(net, w, step, chains=CHAINS):
    value, gradient = net.loss_and_gradient(w)
    state = Chains(
        w=np.tile(w, (chains, 1)),
        loss=np.full(chains, value),
        gradient=np.tile(gradient, (chains, 1)),
        step=np.full(chains, step),
        averages=np.tile([0.0, 0.0, 0.5 * np.log(step)], (chains, 1)),
        done=np.zeros(chains, dtype=np.int64),
        tuned=np.zeros(chains, dtype=np.int64),
        lost=np.full(chains, -1, dtype=np.int64),
    )
    return state, Records(*(np.full((chains, STEPS), np.nan) for _ in range(4)))


def compiled(net, w, law, kernel, step, cuts=(STEPS,), chains=CHAINS):
    state, records = at_start(net, w, step, chains)
    before = 0
    for cut in cuts:
        net.advance_langevin(state, law, kernel, (before, cut), records)
        before = cut
    return state, records


def readable(net, w, law, kernel, step, damage="", steps=STEPS):
    loss = as_functions(net)
    state, records = at_start(net, w, step)
    plan = Plan("", 1, 0.0, None, kernel.batch, 0, CHAINS, 0, 0, KEY)
    if damage == "pull":
        law = law._replace(localization=-law.localization)
    if damage == "temperature":
        law = law._replace(n_beta=law.n_beta * (1 + 1e-6))
    if damage == "metric":
        law = law._replace(scale=np.ascontiguousarray(law.scale.T))
    advance(
        loss.losses_and_gradients,
        state,
        law,
        kernel,
        (0, steps),
        records,
        on_batch=loss.batch_losses_and_gradients,
        rows=batch_rows(net.examples, plan),
        at_anchor=net.example_losses(law.anchor),
    )
    return state, records


def agree(one, two):
    pairs = [*zip(one[0], two[0], strict=True), *zip(one[1], two[1], strict=True)]
    return all(np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True) for a, b in pairs)


@pytest.mark.parametrize(
    ("sampler", "batch", "metric", "tune"),
    [
        ("mala", 0, "none", True),
        ("mala", 0, "matrix", False),
        ("hmc", 0, "diagonal", True),
        ("sgld", 0, "matrix", False),
        ("sgld", 6, "diagonal", False),
        ("sgld", 23, "none", False),
    ],
)
@pytest.mark.parametrize("kind", [("tanh", "cross_entropy"), ("identity", "squared_error")])
def test_engine_compiled_chains_equal_readable_chains(sampler, batch, metric, tune, kind):
    net, w = network(*kind)
    args = law_of(w, metric), kernel_of(sampler, batch, tune), 0.02
    # Tuning multiplies the rounding of an acceptance by twenty and more at each step.
    steps = 10 if tune else STEPS
    one = compiled(net, w, *args, cuts=(steps,))
    assert agree(one, readable(net, w, *args, steps=steps))
    # Something was accepted and something refused, or the test sees half of the loop.
    distinct = len(np.unique(one[1].losses[:, :steps]))
    assert sampler == "sgld" or CHAINS < distinct < CHAINS * steps


@pytest.mark.twin
@pytest.mark.parametrize("damage", ["pull", "temperature", "metric"])
def test_engine_check_rejects_damage(damage):
    net, w = network()
    args = law_of(w, "matrix"), kernel_of("mala"), 0.05
    assert not agree(compiled(net, w, *args), readable(net, w, *args, damage=damage))


@pytest.mark.parametrize(("sampler", "batch"), [("mala", 0), ("sgld", 6), ("hmc", 0)])
def test_cut_runs_and_threads_change_no_bit(sampler, batch):
    net, w = network()
    args = law_of(w, "none"), kernel_of(sampler, batch, tune=sampler != "sgld"), 0.05
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        whole = compiled(net, w, *args)
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        cut = compiled(net, w, *args, cuts=(1, 17, STEPS), chains=5)
    finally:
        numba.set_num_threads(before)
    for one, two in zip((*whole[0], *whole[1]), (*cut[0], *cut[1]), strict=True):
        np.testing.assert_array_equal(one, two[:CHAINS])


def test_batches_are_those_of_training():
    plan = Plan("", 1, 0.0, None, 7, 0, 4, 0, 0, seed_key(5))
    rows = batch_rows(23, plan)
    for chain in range(4):
        expected = batch_indices(23, 7, 9, seed=5, replica=chain)
        found = np.array([rows(step)[chain] for step in range(9)])
        np.testing.assert_array_equal(found, expected)


def test_exact_example_losses_have_the_loss_as_their_mean():
    for objective in ("cross_entropy", "squared_error"):
        net, w = network(objective=objective)
        mean = net.example_losses(w).mean() + 0.5 * net.weight_decay * w @ w
        assert close(mean, net.loss(w))


def test_chain_that_leaves_the_numbers_stops_and_says_when():
    net, w = network("identity", "squared_error")
    args = law_of(w, "none"), kernel_of("sgld"), 1e3
    one, two = compiled(net, w, *args), readable(net, w, *args)
    assert (one[0].lost > 0).all()
    np.testing.assert_array_equal(one[0].lost, two[0].lost)
    np.testing.assert_array_equal(one[0].done, one[0].lost)


@pytest.mark.parametrize("sampler", ["mala", "hmc", "sgld"])
def test_same_coefficient_with_and_without_the_compiled_loop(sampler):
    net, w = network()
    # A given step: tuning would multiply rounding until the two runs part.
    options = {"sampler": sampler, "chains": 4, "draws": 40, "burn_in": 5, "rng": 3, "step": 0.3}
    options["preconditioner"] = np.linspace(0.05, 0.2, net.parameters)
    one = learning_coefficient(net, w, **options)
    two = learning_coefficient(as_functions(net), w, **options)
    np.testing.assert_allclose(one.per_chain, two.per_chain, rtol=1e-9)
    assert (one.provenance.backend, two.provenance.backend) == ("numba", "numpy")


def test_law_batches_estimate_the_same_loss_with_less_noise(seed):
    """A batch's loss less its loss at the anchor: same mean, a fraction of the variance."""
    net, w = network()
    law, kernel = law_of(w, "none")._replace(n_beta=50.0), kernel_of("sgld", batch=6)
    state, records = at_start(net, w, 1e-4, 200)
    net.advance_langevin(state, law, kernel, (0, STEPS), records)
    # All chains are so near the anchor that the loss there is what they should report.
    first, value = records.losses[:, 0], net.loss(w)
    assert close(first, np.full(200, value), units=64)
    plain = net.example_losses(w)[np.random.default_rng(seed).integers(0, 23, (200, 6))].mean(
        axis=1
    )
    late = records.losses[:, -1]
    assert late.std() < 0.5 * plain.std()
    truth = np.array([net.loss(row) for row in state.w]).mean()
    assert follows(late.mean(), truth, plain.std() / 200**0.5)
