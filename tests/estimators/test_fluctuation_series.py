"""The second relation over learning rates: exact maps, one quartic weight, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fracsde.errors import InputError, RecordError, ShapeError, UnsupportedError
from fracsde.estimators import fluctuation_dissipation_series
from fracsde.estimators.rate_polynomials import (
    MeanSquare,
    Points,
    bends_of,
    higher_orders,
    polynomial,
)
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.records.store import Stream
from fracsde.stationary import stationary_covariance
from tests.support.laws import BUDGET, LOOKS

ALARM = BUDGET / LOOKS
H = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 0.2]])
C = np.array([[0.5, -0.2, 0.1], [-0.2, 1.0, 0.3], [0.1, 0.3, 2.0]])
RATES = np.array([0.1, 0.2, 0.3, 0.45, 0.6, 0.75])


def closed_form(eta, mu):
    """``<|grad L|^2>`` of a quadratic loss, mode by mode."""
    h, U = np.linalg.eigh(H)
    e, noise = eta / (1.0 - mu), np.diagonal(U.T @ C @ U)
    return float(np.sum(noise * (1 + mu) * e * h / (2 * (1 + mu) - (1 - mu) * e * h)))


@pytest.mark.parametrize("mu", [0.2, 0.5, 0.9])
def test_exact_higher_orders_of_nesterov_are_those_of_the_stationary_map(mu):
    rates = np.array([1e-3, 0.1, 0.5, 0.9])
    h, U = np.linalg.eigh(H)
    noise = np.diagonal(U.T @ C @ U)
    known = higher_orders(h, noise, rates / (1.0 - mu), mu, nesterov=True)
    for eta, rest in zip(rates, known, strict=True):
        sgd = SGDNearMinimum(
            hessian=H,
            gradient_noise=C,
            learning_rate=eta,
            batch_size=1,
            momentum=mu,
            nesterov=True,
        )
        square = np.trace(H @ stationary_covariance(sgd).matrix @ H)
        first = 0.5 * np.trace(H @ C) * eta / (1.0 - mu)
        assert first + rest == pytest.approx(square, rel=1e-11)
    e = 1e-5
    bend = higher_orders(h, noise, np.array([e]), mu, nesterov=True)[0] / e**2
    assert bend == pytest.approx(0.25 * bends_of(mu, nesterov=True) * np.trace(H @ H @ C), rel=1e-3)
    assert (bend < 0.0) == (mu > 0.6)


@pytest.mark.parametrize("mu", [0.0, 0.7])
def test_exact_closed_form_is_that_of_the_stationary_map(mu):
    for eta in (0.01, 0.1, 0.5):
        sgd = SGDNearMinimum(
            hessian=H, gradient_noise=C, learning_rate=eta, batch_size=1, momentum=mu
        )
        S = stationary_covariance(sgd).matrix
        assert closed_form(eta, mu) == pytest.approx(np.trace(H @ S @ H), rel=1e-12)


@pytest.mark.parametrize("mu", [0.0, 0.7])
def test_exact_slope_and_bend_of_a_quadratic_loss(mu):
    # Differences of the closed form at small rates, extrapolated.
    e = 1e-3 * np.arange(1.0, 6.0)
    values = [closed_form((1.0 - mu) * x, mu) / x for x in e]
    b, a = np.polynomial.polynomial.polyfit(e, values, 4)[1::-1]
    assert a == pytest.approx(0.5 * np.trace(H @ C), rel=1e-10)
    ratio = (1.0 - mu) / (1.0 + mu)
    assert b == pytest.approx(0.25 * ratio * np.trace(H @ H @ C), rel=1e-6)
    assert b > ratio * a**2 / np.trace(C)


def stationary_quartic(eta, h, q, C):
    """``<|grad L|^2>`` of one weight, from the law of the map on a grid."""
    w = np.linspace(-6.0, 6.0, 201) * np.sqrt(eta * C / (2.0 * h))
    centre, width = w - eta * (h * w + q * w**3), eta * np.sqrt(C)
    kernel = np.exp(-0.5 * ((w[:, None] - centre) / width) ** 2)
    kernel /= kernel.sum(axis=0)
    law = np.exp(-(w**2) * h / (eta * C))
    law /= law.sum()
    for _ in range(12):  # squares the kernel: 4096 steps
        kernel = kernel @ kernel
    law = kernel @ law
    return float(law @ (h * w + q * w**3) ** 2)


def test_limit_a_quartic_weight_adds_its_own_bend():
    h, q, noise = 0.8, 0.3, 1.5
    e = np.array([0.01, 0.02, 0.03, 0.04, 0.05])
    values = [stationary_quartic(x, h, q, noise) / x for x in e]
    fit = np.polynomial.polynomial.polyfit(e, values, 4)
    assert fit[0] == pytest.approx(0.5 * h * noise, rel=1e-6)
    assert fit[1] - 0.25 * h**2 * noise == pytest.approx(0.75 * q * noise**2 / h, rel=1e-3)


def descend(rng, force, noise, eta, *, mu=0.0, nesterov=False, chains=256, draws=1500):
    """Streams of SGD with independent Gaussian noise, from near its stationary law."""
    size = len(noise)
    root = np.linalg.cholesky(noise)
    w, b, kept = np.zeros((chains, size)), np.zeros((chains, size)), []
    burn = int(40 / min(eta, 1.0))
    for t in range(burn + draws):
        g = force(w) + rng.standard_normal((chains, size)) @ root.T
        b = mu * b + g
        if t >= burn:
            kept.append(
                (np.sum(w * g, 1), np.sum(g * g, 1), np.sum(w * w, 1), np.sum(force(w) ** 2, 1))
            )
        w = w - eta * (g + mu * b if nesterov else b)
    names = ("weight_dot_gradient", "gradient_norm_squared", "weight_norm_squared", "whole")
    return dict(zip(names, np.transpose(kept, (1, 2, 0)), strict=True))


def measured(seed, force, noise, *, mu=0.0, rates=RATES, whole=False, **options):
    rng = np.random.default_rng(seed)
    runs = []
    for eta in rates * (1.0 - mu):
        streams = descend(rng, force, noise, eta, mu=mu)
        loss = streams.pop("whole")
        runs.append(streams | ({"loss_gradient_norm_squared": loss} if whole else {}))
    return fluctuation_dissipation_series(
        runs, learning_rates=rates * (1.0 - mu), momentum=mu, level=ALARM, **options
    )


def within(measurement, truth):
    return abs(measurement.value[0] - truth) < 6.0 * measurement.stderr[0]


@pytest.mark.parametrize(("mu", "whole"), [(0.0, False), (0.5, False), (0.0, True)])
def test_law_quadratic_loss_is_measured_and_not_called_anharmonic(mu, whole, seed):
    found = measured(
        seed,
        lambda w: w @ H,
        C,
        mu=mu,
        whole=whole,
        hessian=H,
        gradient_noise=C,
    )
    assert within(found.curvature_noise, np.trace(H @ C))
    assert found.curvature_noise.stderr[0] < 0.2 * np.trace(H @ C)
    assert within(found.bend, 0.25 * (1 - mu) / (1 + mu) * np.trace(H @ H @ C))
    assert not found.anharmonic
    assert all(found.stationary)
    assert found.misfit > ALARM
    if whole:
        assert found.noise is None
        assert found.curvature_noise.stderr[0] < 0.02 * np.trace(H @ C)
    else:
        assert within(found.noise, np.trace(C))


def test_law_nesterovs_momentum_bends_a_quadratic_loss_its_own_way(seed):
    rng, rates = np.random.default_rng(seed), RATES * 0.1
    runs = [descend(rng, lambda w: w @ H, C, eta, mu=0.9, nesterov=True) for eta in rates]
    runs = [{"loss_gradient_norm_squared": streams["whole"]} for streams in runs]
    told = {"hessian": H, "gradient_noise": C, "momentum": 0.9, "learning_rates": rates}
    found = fluctuation_dissipation_series(runs, nesterov=True, level=ALARM, **told)
    assert not found.anharmonic
    assert found.bend.value[0] < -6.0 * found.bend.stderr[0]
    assert within(found.bend, 0.25 * bends_of(0.9, nesterov=True) * np.trace(H @ H @ C))
    # Twin: beside the bend of a heavy ball it would be a loss that softens.
    assert fluctuation_dissipation_series(runs, level=ALARM, **told).anharmonic
    with pytest.raises(UnsupportedError, match="sign that depends on the momentum"):
        fluctuation_dissipation_series(runs, nesterov=True, momentum=0.9, learning_rates=rates)


@pytest.mark.twin
def test_twin_the_bend_by_itself_calls_a_quadratic_loss_anharmonic(seed):
    told = {"hessian": H, "gradient_noise": C}
    found = measured(seed, lambda w: w @ H, C, whole=True, **told)
    assert found.bend.value[0] > 6.0 * found.bend.stderr[0]
    assert not found.anharmonic


def test_law_a_loss_that_stiffens_is_measured(seed):
    q, one = 0.3, np.eye(1)
    rates = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
    found = measured(
        seed,
        lambda w: w + q * w**3,
        one,
        rates=rates,
        whole=True,
        hessian=one,
        gradient_noise=one,
    )
    assert found.anharmonic
    assert "stiffens" in found.sentence
    # The same parabola through exact values: 0.75 q and what higher orders add.
    rest = [stationary_quartic(e, 1.0, q, 1.0) - e**2 / (4 - 2 * e) for e in rates]
    columns = rates[:, None] ** [1, 2] / found.stderr[:, None]
    expected = np.linalg.lstsq(columns, rest / found.stderr)[0]
    assert within(found.anharmonicity, expected[1])
    assert found.anharmonicity.stderr[0] < 0.15 * expected[1]
    assert 0.75 * q < expected[1] < 2 * 0.75 * q


def test_law_a_loss_that_softens_is_seen_without_its_curvature(seed):
    found = measured(seed, np.tanh, 1.5 * np.eye(1), degree=2)
    assert found.anharmonic
    assert found.anharmonicity.value[0] < 0.0
    assert "softens" in found.sentence


def test_law_weight_decay_is_added_as_the_optimiser_does(seed):
    streams = [descend(np.random.default_rng(seed), lambda w: w @ H, C, eta) for eta in RATES]
    decay = 0.2
    plain = []
    for run in streams:  # of gradients recorded without it
        cross, square, weight = (run[name] for name in list(run)[:3])
        plain.append(
            {
                "weight_dot_gradient": cross - decay * weight,
                "gradient_norm_squared": square - 2 * decay * cross + decay**2 * weight,
                "weight_norm_squared": weight,
            }
        )
    options = {"learning_rates": RATES, "degree": 3}
    found = fluctuation_dissipation_series(plain, weight_decay=decay, **options)
    whole = fluctuation_dissipation_series(
        [{"gradient_norm_squared": run["gradient_norm_squared"]} for run in streams], **options
    )
    np.testing.assert_allclose(found.value, whole.value, rtol=1e-10)


def test_exact_polynomial_through_values_without_error():
    rates = np.array([0.1, 0.2, 0.4, 0.7])
    values = 2.0 + 3.0 * rates - 0.5 * rates**2 + np.sin(rates)
    squares = tuple(
        MeanSquare(value=v, variance=1e-4 * v**2, count=32.0, stationary=True) for v in values
    )
    fit = polynomial(Points(rates=rates, powers=np.arange(3), known=np.sin(rates), squares=squares))
    np.testing.assert_allclose(fit.coefficients, [2.0, 3.0, -0.5], rtol=1e-12)
    assert fit.misfit == pytest.approx(1.0)


def test_straight_rates_end_where_the_bend_begins_and_order_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    rates = np.array([1.6, 0.1, 0.2, 0.3, 1.8])
    runs = [descend(rng, lambda w: w, np.eye(1), eta, draws=600) for eta in rates]
    for run in runs:
        del run["whole"]
    found = fluctuation_dissipation_series(runs, learning_rates=rates)
    assert list(found.rates) == sorted(rates)
    assert found.linear_to == 0.3
    assert found.misfit < 1e-3
    assert "raise `degree`" in found.sentence
    again = fluctuation_dissipation_series(runs[::-1], learning_rates=rates[::-1])
    assert again.value.tolist() == found.value.tolist()


def test_runs_that_drift_are_counted(seed):
    rng = np.random.default_rng(seed)
    runs = [{"gradient_norm_squared": rng.chisquare(3, (32, 200))} for _ in range(5)]
    runs[3]["gradient_norm_squared"] *= np.linspace(2.0, 1.0, 200)
    found = fluctuation_dissipation_series(runs, learning_rates=[1, 2, 3, 4, 5])
    assert found.stationary == (True, True, True, False, True)
    assert "1 of 5 runs had not settled" in found.sentence


def noise(seed, count=5):
    rng = np.random.default_rng(seed)
    return [{"gradient_norm_squared": rng.chisquare(3, (16, 50))} for _ in range(count)]


def stored(streams, **training):
    array = streams["gradient_norm_squared"]
    whole = np.concatenate([np.full((len(array), 1), np.nan), array], axis=1)
    return SimpleNamespace(
        streams={"gradient_norm_squared": Stream("gradient_norm_squared", 1, unit="1")},
        chains=tuple(range(len(array))),
        metadata={"training": {"optimizer": "SGD", "batch_size": 8, **training}},
        array=lambda _, chain: whole[chain][:, None],
        steps=lambda _: np.arange(whole.shape[1]),
    )


def test_reads_stored_runs_and_what_they_say_of_themselves(seed):
    arrays, rates = noise(seed), [0.1, 0.2, 0.3, 0.4, 0.5]
    runs = [
        stored(a, learning_rate=eta, momentum=0.5) for a, eta in zip(arrays, rates, strict=True)
    ]
    found = fluctuation_dissipation_series(runs)
    plain = fluctuation_dissipation_series(arrays, learning_rates=rates, momentum=0.5)
    np.testing.assert_allclose(found.rates, 2.0 * np.array(rates))
    np.testing.assert_allclose(found.bend.value, plain.bend.value)
    runs[2] = stored(arrays[2], learning_rate=0.3, momentum=0.9)
    with pytest.raises(InputError, match="the learning rate alone"):
        fluctuation_dissipation_series(runs)
    runs[2] = stored(arrays[2], learning_rate=0.3, momentum=0.5, dataset_size=10)
    runs[3] = stored(arrays[3], learning_rate=0.4, momentum=0.5, dataset_size=20)
    with pytest.raises(InputError, match="'dataset_size' of 10 and 20"):
        fluctuation_dissipation_series(runs)
    shuffled = [
        stored(a, learning_rate=eta, sampling="shuffled")
        for a, eta in zip(arrays, rates, strict=True)
    ]
    with pytest.raises(UnsupportedError, match="with replacement"):
        fluctuation_dissipation_series(shuffled)


def test_refuses_series_that_say_nothing(seed):
    runs, rates = noise(seed), [1.0, 2.0, 3.0, 4.0, 5.0]
    series = fluctuation_dissipation_series
    with pytest.raises(InputError, match="same effective rate, 2"):
        series(runs, learning_rates=[1, 2, 2, 3, 4])
    with pytest.raises(InputError, match="at least 4 rates, got 3"):
        series(runs[:3], learning_rates=rates[:3])
    with pytest.raises(InputError, match="at least 6 rates"):
        series(runs, learning_rates=rates, degree=4)
    with pytest.raises(ShapeError, match="one per run, got 4 for 5"):
        series(runs, learning_rates=rates[:4])
    with pytest.raises(InputError, match="not known"):
        series(runs)
    with pytest.raises(InputError, match="both"):
        series(runs, learning_rates=rates, hessian=np.eye(2))
    with pytest.raises(ShapeError, match="one shape"):
        series(runs, learning_rates=rates, hessian=np.eye(2), gradient_noise=np.eye(3))
    with pytest.raises(InputError, match="unstable at the effective rate 3"):
        series(runs, learning_rates=rates, hessian=0.7 * np.eye(2), gradient_noise=np.eye(2))
    bent = {"hessian": np.diag([0.1, -0.01]), "gradient_noise": np.eye(2)}
    with pytest.raises(InputError, match="must not curve downwards"):
        series(runs, learning_rates=rates, **bent)
    with pytest.raises(InputError, match="sequence of runs"):
        series(runs[0], learning_rates=rates)
    with pytest.raises(InputError, match="empty"):
        series([])
    with pytest.raises(ShapeError, match="or one per run, got 2"):
        series(runs, learning_rates=rates, start=[1, 2])
    with pytest.raises(InputError, match="degree"):
        series(runs, learning_rates=rates, degree=1)
    with pytest.raises(RecordError, match="no stream"):
        series([*runs[:4], {"loss": np.ones((2, 9))}], learning_rates=rates)
    flat = {"gradient_norm_squared": np.ones((16, 50))}
    with pytest.raises(RecordError, match="the run at rate 1"):
        series([flat, *runs[1:]], learning_rates=rates)


def test_refuses_streams_that_are_not_what_they_say(seed):
    runs, asked = noise(seed), {"learning_rates": [1, 2, 3, 4, 5]}
    wrong = {"gradient_norm_squared": -runs[0]["gradient_norm_squared"]}
    with pytest.raises(RecordError, match="the run at rate 1: a squared gradient cannot be"):
        fluctuation_dissipation_series([wrong, *runs[1:]], **asked)
    rows = np.ones((2, 30, 3))
    whole = [{"gradients": rows, "weights": rows[:, :20]}] * 5
    with pytest.raises(ShapeError, match="one shape"):
        fluctuation_dissipation_series(whole, weight_decay=0.1, **asked)
    names = ("gradient_norm_squared", "weight_dot_gradient", "weight_norm_squared")
    norms = [dict(zip(names, (rows[..., 0], rows[..., 0], rows[:, :20, 0]), strict=True))] * 5
    with pytest.raises(ShapeError, match="one shape"):
        fluctuation_dissipation_series(norms, weight_decay=0.1, **asked)


def test_a_run_whose_training_is_no_mapping_says_nothing(seed):
    told = stored(noise(seed)[0])
    told.metadata = {"training": "SGD"}
    with pytest.raises(InputError, match="`learning_rate` is not known"):
        fluctuation_dissipation_series([told] * 5)


def test_refuses_a_run_that_diverged_by_its_rate(seed):
    runs = noise(seed)
    runs[4]["gradient_norm_squared"][3, 40:] = np.inf
    with pytest.raises(RecordError, match="the run at rate 5: "):
        fluctuation_dissipation_series(runs, learning_rates=[1, 2, 3, 4, 5])


def test_keeps_the_streams(seed):
    runs = noise(seed)
    before = [run["gradient_norm_squared"].copy() for run in runs]
    fluctuation_dissipation_series(runs, learning_rates=[1, 2, 3, 4, 5], start=[3] * 5)
    for run, kept in zip(runs, before, strict=True):
        np.testing.assert_array_equal(run["gradient_norm_squared"], kept)
