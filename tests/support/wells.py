"""Exact stationary laws of SGD on wells of one weight or two, and draws without sampling error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from fracsde.closure import examine_minimum, gaussian_closure
from fracsde.problems.stochastic_loss import StochasticLoss

RATE = 0.4


@dataclass(frozen=True)
class Exact:
    """Mean, cumulants, and covariance over one step."""

    mean: float
    variance: float
    third: float
    fourth: float
    later: float


# One or two weights, or a weight and its velocity: exact averages from the operator that takes a
# function to its mean one step later, on Chebyshev nodes; noise of finitely many values, so that
# all of it is exact.


def well(cubic: float, quartic: float, bend: float) -> StochasticLoss:
    """V = w^2/2 + cubic w^3/6 + quartic w^4/24, noise C = (1 + bend w)^2."""
    return StochasticLoss(
        gradient=lambda w: w + cubic * w**2 / 2 + quartic * w**3 / 6,
        hessian_products=lambda w, V: (1 + cubic * w + quartic * w**2 / 2)[:, :, None] * V,
        projected_noise=lambda w, V: ((1 + bend * w) ** 2)[:, :, None] * np.ones((len(w), 1, 1)),
        batched=True,
    )


class Chebyshev:
    """Functions on [-reach, reach] by their values at nodes."""

    def __init__(self, reach: float, count: int) -> None:
        x = np.cos(np.pi * (np.arange(count) + 0.5) / count)
        self._inverse = np.linalg.inv(np.polynomial.chebyshev.chebvander(x, count - 1))
        self.reach, self.count, self.nodes = reach, count, reach * x

    def rows(self, at: np.ndarray) -> np.ndarray:
        degree = self.count - 1
        return np.polynomial.chebyshev.chebvander(at / self.reach, degree) @ self._inverse


def pairs(X: Chebyshev, Y: Chebyshev) -> tuple[np.ndarray, np.ndarray]:
    return tuple(part.ravel() for part in np.meshgrid(X.nodes, Y.nodes, indexing="ij"))


def rows_of(X: Chebyshev, Y: Chebyshev, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (X.rows(x)[:, :, None] * Y.rows(y)[:, None, :]).reshape(len(x), -1)


def averages(operator: np.ndarray) -> np.ndarray:
    """Return the weights of the nodes in averages that the operator leaves as they are."""
    rows = operator.T - np.eye(len(operator))
    rows[-1], right = 1.0, np.zeros(len(operator))
    right[-1] = 1.0
    return np.linalg.solve(rows, right)


def close(loss, batch, cumulants=2, *, momentum=0.0, draws=2**13, start=(0.0,), **options):
    """Return the closure of SGD on a well at rate ``RATE``, solved to 1e-8."""
    return gaussian_closure(
        examine_minimum(loss, start),
        learning_rate=RATE,
        batch_size=batch,
        momentum=momentum,
        draws=draws,
        rtol=1e-8,
        cumulants=cumulants,
        **options,
    )


Z, SHARES = np.polynomial.hermite_e.hermegauss(5)  # as a Gaussian, up to the ninth moment
SHARES = SHARES / SHARES.sum()


def exact(loss, batch, momentum=0.0, *, values=None, shares=SHARES, bend=0.0):
    """Return the law of one weight under steps of rate ``RATE``."""
    values = Z / batch**0.5 if values is None else values
    count = 40 if momentum == 0.0 else 22
    reach = 6.0 * (RATE / batch / (2.0 - RATE) / (1.0 - momentum)) ** 0.5
    W, V = Chebyshev(reach, count), Chebyshev(1.2 * reach, count)
    w, v = pairs(W, V) if momentum > 0.0 else (W.nodes, np.zeros(count))
    operator, later = np.zeros((len(w), len(w))), np.zeros(len(w))
    for value, share in zip(values, shares, strict=True):
        slope = loss.gradients(w[:, None])[:, 0] + value * (1 + bend * w)
        faster = momentum * v - RATE * slope
        moved = w + faster
        operator += share * (rows_of(W, V, moved, faster) if momentum > 0.0 else W.rows(moved))
        later += share * moved
    nu = averages(operator)
    mean = float(nu @ w)
    second, third, fourth = (float(nu @ (w - mean) ** n) for n in (2, 3, 4))
    return Exact(
        mean=mean,
        variance=second,
        third=third,
        fourth=fourth - 3.0 * second**2,
        later=float(nu @ ((w - mean) * (later - mean))),
    )


def spaced(rng, draws: int, modes: int, rank: int) -> np.ndarray:
    """Return four equal groups of normal quantiles, second and fourth moments exact.

    Random draws would leave an error of their own, of first order in the width of the law.
    """
    size = draws // 4 if modes == 1 else 32
    z = ndtri(0.5 + (np.arange(size) + 0.5) / (2 * size))
    a, b = 1.0, 0.0
    for _ in range(20):  # Newton's method for z -> a z + b z^3
        y = a * z + b * z**3
        off = [np.mean(y**2) - 1.0, np.mean(y**4) - 3.0]
        slopes = [[n * np.mean(y ** (n - 1) * z**m) for m in (1, 3)] for n in (2, 4)]
        a, b = np.array([a, b]) - np.linalg.solve(slopes, off)
    y = a * z + b * z**3
    points = [part.ravel() for part in np.meshgrid(y, [*y, *-y])] if modes == 2 else [y]
    return np.tile(np.array(points).T, (4, 1, 1))
