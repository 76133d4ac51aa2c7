"""What a closure says of its own error: fourth cumulants, and pairs of many flat modes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from fracsde._closure import pairs as paired
from fracsde._closure import state
from fracsde._closure.fourth import _Mode, fourth_shares
from fracsde.closure import examine_minimum, gaussian_closure
from fracsde.problems.stochastic_loss import StochasticLoss
from fracsde.status import Status
from tests.support.laws import follows, seed_of, sigmas
from tests.support.orders import observed_order
from tests.support.wells import RATE, close, exact, well

SIZES = [8, 16, 32, 64, 128]


# The fourth cumulant of the law of one weight, against the operator of the steps.


def along(cubic: float, quartic: float, bend: float, batch: int, shape: tuple[float, float]):
    """Return the derivatives of a well, noise being that of a batch, third and fourth cumulant."""
    third, fourth = shape[0] / batch**2, shape[1] / batch**3
    return {
        "third": cubic,
        "fourth": quartic,
        "slope": 2.0 * bend / batch,
        "bend": 2.0 * bend**2 / batch,
        "skewness": third,
        "skewness_slope": 3.0 * bend * third,
        "kurtosis": fourth,
    }


def batches(batch: int) -> dict:
    """Return the law of a mean over examples of 2, -1 and -1 over the root of two."""
    count = np.arange(batch + 1)
    return {
        "values": (3.0 * count / batch - 1.0) / 2.0**0.5,
        "shares": binom(batch, 1 / 3).pmf(count),
    }


WELLS = {
    "even": (0.0, 1.0, 0.0),
    "skewed": (0.8, 0.0, 0.0),
    "of both": (0.8, 0.6, 0.0),
    "noise that grows": (0.0, 0.6, 0.4),
    "everything": (0.7, 1.2, 0.3),
}
SHAPE = (1.0 / 2.0**0.5, -1.5)  # third and fourth cumulant of the examples


@cache
def true_law(name: str, batch: int, momentum: float):
    """Normal noise, but for the well that has everything."""
    law = batches(batch) if name == "everything" else {}
    return exact(well(*WELLS[name]), batch, momentum, bend=WELLS[name][2], **law)


def missed(name: str, momentum: float, *, without: str = ""):
    """Return the relative error of the fourth cumulant to leading order, as a function."""
    shape = SHAPE if name == "everything" else (0.0, 0.0)
    below = 2.0 * (1.0 - momentum) - RATE * (1.0 - momentum) / (1.0 + momentum)

    def error(batch: int) -> float:
        mode = _Mode(RATE, momentum, 1.0, RATE / batch / below)
        values = along(*WELLS[name], batch, shape)
        values[without or "third"] *= 0.0 if without else 1.0
        found = float(mode.fourth(**values)[0, 0, 0, 0])
        return abs(found / true_law(name, batch, momentum).fourth - 1.0)

    return error


@pytest.mark.parametrize("momentum", [0.0, 0.4])
@pytest.mark.parametrize("name", WELLS)
def test_order_of_the_error_of_fourth_cumulants_is_one(name, momentum) -> None:
    """Cubic and quartic wells, noise that depends on the state, batches that are not normal."""
    table = observed_order(missed(name, momentum), SIZES, 1.0)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("part", list(along(0.0, 0.0, 0.0, 1, SHAPE)))
def test_twin_without_any_one_of_the_derivatives_the_order_is_lost(part) -> None:
    error = missed("everything", 0.4, without=part)
    assert not observed_order(error, SIZES, 1.0).agrees()


# What a closure states of itself.


def growing(bend: float) -> StochasticLoss:
    """V = w^2/2 + w^4/12, noise C = 1 + bend w^2: even, and its noise too."""
    return replace(
        well(0.0, 2.0, 0.0),
        projected_noise=lambda w, V: (1 + bend * w**2)[:, :, None] * np.ones((len(w), 1, 1)),
    )


def told(momentum: float) -> tuple[np.ndarray, np.ndarray]:
    """Return errors of the closure in an even well, and what it states of them."""
    loss, errors, stated = growing(0.0), [], []
    for batch in SIZES[:4]:
        found, true = (
            close(loss, batch, momentum=momentum, throw=False),
            exact(loss, batch, momentum),
        )
        assert found.status is Status.SUCCESS
        errors.append(abs(found.variances[0] / true.variance - 1.0))
        stated.append(found.truncation)
    return np.array(errors), np.array(stated)


def limit(errors: np.ndarray, stated: np.ndarray) -> bool:
    """Whether the ratio goes to one from below."""
    missing = stated / errors - 1.0
    return bool(np.all(np.diff(missing) < 0.0) and missing[0] < 0.35 and 0.0 < missing[-1] < 0.02)


@pytest.mark.parametrize("momentum", [0.0, 0.4])
def test_limit_of_what_a_closure_states_is_its_error_in_an_even_well(momentum, smooth) -> None:
    """Third cumulants vanish there; without the fourth it would state that it is exact."""
    assert limit(*told(momentum))


@pytest.mark.twin
@pytest.mark.parametrize("share", [0.0, 0.9])
def test_twin_of_fewer_fourth_cumulants_states_another_limit(share, smooth, monkeypatch) -> None:
    monkeypatch.setattr(
        state, "fourth_shares", lambda *args, **kw: share * fourth_shares(*args, **kw)
    )
    assert not limit(*told(0.0))


@pytest.mark.parametrize(("batch", "trusted"), [(4, False), (64, True)])
def test_strong_kurtosis_is_inaccurate_and_named(batch, trusted, smooth) -> None:
    found = close(growing(0.0), batch, momentum=0.9, throw=False)
    assert found.status is (Status.SUCCESS if trusted else Status.INACCURATE)
    assert (found.truncation > 0.1) != trusted
    assert ("and fourth ones by" in found.detail) != trusted


# Many weights.


def round_well(size: int, quartic: float) -> StochasticLoss:
    """V = |w|^2/2 + quartic |w|^4/8: every pair of weights is coupled."""
    eye = np.eye(size)

    def products(w, V):
        square = np.sum(w * w, axis=1)[:, None, None]
        outer = w[:, :, None] * w[:, None, :]
        return ((1.0 + 0.5 * quartic * square) * eye + quartic * outer) @ V

    return StochasticLoss(
        gradient=lambda w: w * (1.0 + 0.5 * quartic * np.sum(w * w, axis=1))[:, None],
        hessian_products=products,
        projected_noise=lambda w, V: np.broadcast_to(V.T @ V, (len(w), *(V.shape[1:] * 2))),
        batched=True,
    )


@pytest.mark.parametrize("size", [2, 6])
def test_law_of_a_long_run_is_within_what_the_closure_states(size) -> None:
    """A quartic well; a fourth derivative along single modes would state a third of it or less."""
    loss, momentum, chains, steps = round_well(size, 1.0), 0.8, 12_000, 260
    found = close(loss, 8, momentum=momentum, start=np.zeros(size), draws=2**14, throw=False)
    rng = np.random.default_rng(seed_of(f"round well of {size}"))
    w = rng.standard_normal((chains, size)) * found.variances**0.5
    v, total = np.zeros_like(w), np.zeros(chains)
    for step in range(steps):
        v = momentum * v - RATE * (loss.gradients(w) + rng.standard_normal(w.shape) / 8.0**0.5)
        w = w + v
        if step >= 60:
            total += np.mean(w * w, axis=1)
    total /= steps - 60
    error = float(total.std() / chains**0.5 / found.variances.mean())
    off = abs(float(total.mean() / found.variances.mean()) - 1.0)
    own = float(np.mean(found.variance_stderr / found.variances)) / size**0.5
    noise = sigmas() * np.hypot(error, own)
    assert off < found.truncation + noise
    assert off > noise  # there is something to be stated


# Pairs of many modes.


def crowd(size: int) -> StochasticLoss:
    """V = h.w^2/2 + w_0 w.A w/2: one stiff weight feels all pairs of flat ones."""
    rng = np.random.default_rng(seed_of("crowd"))
    h = np.concatenate([[1.0], np.geomspace(0.3, 0.05, size - 1)])
    A = rng.standard_normal((size, size))
    A = 0.1 * (A + A.T) / 2.0**0.5 * np.outer(h, h) ** 0.5
    A[0] = A[:, 0] = 0.0
    unit = np.eye(size)[0]

    def products(w, V):
        along = w @ A
        pulled = np.einsum("ni,ik->nk", along, V)
        turned = h[:, None] * V + w[:, :1, None] * (A @ V)
        return turned + along[:, :, None] * V[0] + unit[:, None] * pulled[:, None]

    return StochasticLoss(
        gradient=lambda w: (
            w * h + w[:, :1] * (w @ A) + 0.5 * np.sum(w * (w @ A), 1)[:, None] * unit
        ),
        hessian_products=products,
        projected_noise=lambda w, V: np.broadcast_to((V.T * h) @ V, (len(w), *(V.shape[1:] * 2))),
        batched=True,
    )


def stated(loss: StochasticLoss, size: int) -> float:
    at = examine_minimum(loss, np.zeros(size), rank=1)
    return gaussian_closure(at, learning_rate=RATE, batch_size=4, draws=96, throw=False).truncation


def test_routes_agree_all_modes_and_few_vectors_for_them(monkeypatch) -> None:
    """Of all pairs those of the stiffest modes are a small part."""
    size = 120
    loss = crowd(size)
    few = stated(loss, size)
    monkeypatch.setattr(paired, "SINGLE", size)
    whole = stated(loss, size)
    assert abs(few / whole - 1.0) < 0.15
    chosen = paired.pairs_of

    def alone(*args, **options):
        found = chosen(*args, **options)
        stiff = np.arange(size) < 52
        return replace(found, weights=found.weights * np.outer(stiff, stiff))

    monkeypatch.setattr(state, "pairs_of", alone)
    assert not abs(stated(loss, size) / whole - 1.0) < 0.5  # twin: the stiffest alone


def test_exact_sum_over_pairs_is_the_mean_over_signs(monkeypatch) -> None:
    """Of two forms, over vectors of many draws of signs; the twin counts equal vectors too."""
    size = 60
    rng = np.random.default_rng(seed_of("forms"))
    A, B = (M @ M.T / size for M in rng.standard_normal((2, size, size)))
    monkeypatch.setattr(paired, "SINGLE", 8)
    monkeypatch.setattr(paired, "BINS", 2)
    at = SimpleNamespace(modes=np.eye(size), rank=1)
    right, plain, fixed = [], [], np.random.default_rng
    for seed in range(400):
        monkeypatch.setattr(np.random, "default_rng", lambda _, seed=seed: fixed(seed))
        found = paired.pairs_of(at, np.linspace(1.0, 0.5, size), outside=False)
        U = found.vectors
        products = (U.T @ A @ U) * (U.T @ B @ U)
        right.append(float(np.sum(products * found.weights**2)))
        plain.append(float(np.sum(products)))
    exact_sum = float(np.sum(A * B))
    for sums, agrees in ((right, True), (plain, False)):
        error = float(np.std(sums)) / len(sums) ** 0.5
        assert follows(float(np.mean(sums)), exact_sum, error) == agrees
