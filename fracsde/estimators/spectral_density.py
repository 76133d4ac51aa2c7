r"""The density of all eigenvalues of a Hessian, from products with a few random vectors.

A random unit vector :math:`z` sees the measure :math:`\mu_z = \sum_i (u_i^T z)^2 \delta_{h_i}`,
whose mean is the density of eigenvalues, :math:`\mu = \frac1P \sum_i \delta_{h_i}`.  After ``m``
steps of the Lanczos method started from it, the eigenvalues :math:`\theta_k` of the tridiagonal
matrix and the squares :math:`\tau_k` of their first components are a Gauss rule for
:math:`\mu_z`, exact for polynomials of degree :math:`2m - 1`,

.. math::
    z^T f(H)\, z = \int f \,\mathrm{d}\mu_z \approx \sum_k \tau_k f(\theta_k), \qquad
    \operatorname{Tr} f(H) = P \,\mathrm{E}\, z^T f(H)\, z .

Every new vector is made orthogonal to all before it, twice, so that no eigenvalue comes back as a
copy of itself.  Two errors are kept apart: the *standard error*, of the finite number of random
vectors, and the *resolution*, of the finite number of steps.  How much of :math:`\mu_z` lies below
a point between two nodes is known up to the weights of these two, whatever the measure
(the inequalities of Chebyshev, Markov and Stieltjes); :meth:`SpectralDensity.count_between` states
that.

References: [Ubaru2017]_; [Szego1939]_, section 3.41, for the inequalities; [Ghorbani2019]_ for
networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import eigh_tridiagonal

from fracsde._check import choice, finite_array, integer, real
from fracsde.errors import OutOfRangeError
from fracsde.estimators.curvature import products_of
from fracsde.provenance import Provenance, provenance

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.estimators.loss import DifferentiableLoss

__all__ = ["EigenvalueCount", "SpectralDensity", "spectral_density"]

_HELD = 1 << 26  # entries of Lanczos vectors held at once: half a gigabyte


@dataclass(frozen=True, kw_only=True)
class EigenvalueCount:
    """How many eigenvalues lie in an interval.

    Parameters
    ----------
    value : float [1]
        The estimate.
    stderr : float [1]
        Its standard error, of the random vectors.
    low, high : float [1]
        Between them lies what the same random vectors would give after any number of steps.
    """

    value: float
    stderr: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SpectralDensity:
    """A density of eigenvalues as one Gauss rule per random vector; see the module.

    Parameters
    ----------
    nodes : (probes, steps) float64 [loss/weight^2]
        Places, increasing.
    weights : (probes, steps) float64 [1]
        Their weights; each row sums to 1.
    parameters : int
        Number of eigenvalues ``P``.
    vectors : {"rademacher", "gaussian"}
        Law of the random vectors.
    products : int
        Products with one vector that were needed.
    provenance : Provenance
        Where it came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Ubaru2017", "Ghorbani2019")

    nodes: FloatArray
    weights: FloatArray
    parameters: int
    vectors: str
    products: int
    provenance: Provenance

    @property
    def probes(self) -> int:
        """Number of random vectors."""
        return len(self.nodes)

    @property
    def interval(self) -> tuple[float, float]:
        """Smallest and largest node: inside the range of the eigenvalues, and close to it."""
        return float(self.nodes.min()), float(self.nodes.max())

    def trace_of(self, function: Callable[[FloatArray], FloatArray]) -> tuple[float, float]:
        r"""Estimate :math:`\operatorname{Tr} f(H)` with its standard error.

        Parameters
        ----------
        function : callable
            Of an array of eigenvalues, entry by entry.

        Returns
        -------
        tuple of float
            Estimate and standard error, the spread over the random vectors.
        """
        values = finite_array("function", function(self.nodes), shape=self.nodes.shape)
        return self._mean((values * self.weights).sum(axis=1))

    def moment(self, order: int) -> tuple[float, float]:
        r"""Estimate :math:`\operatorname{Tr} H^k` with its standard error.

        Parameters
        ----------
        order : int
            ``k``, below twice the number of steps: there the Gauss rules are exact.

        Returns
        -------
        tuple of float
            Estimate and standard error.
        """
        k = integer("order", order, low=0, high=2 * self.nodes.shape[1] - 1)
        return self.trace_of(lambda h: h**k)

    @property
    def trace(self) -> tuple[float, float]:
        """Trace and its standard error [loss/weight^2]."""
        return self.moment(1)

    def density(
        self, at: ArrayLike, *, width: float | None = None
    ) -> tuple[FloatArray, FloatArray, float]:
        """Estimate the density of eigenvalues, smoothed by a normal law.

        Parameters
        ----------
        at : (n,) array_like [loss/weight^2]
            Where.
        width : float, optional [loss/weight^2]
            Standard deviation of the smoothing; by default the range of eigenvalues times two
            over the number of steps, about the distance of nodes.

        Returns
        -------
        density : (n,) float64 [weight^2/loss]
            Of integral 1.
        stderr : (n,) float64 [weight^2/loss]
            Standard error.
        width : float [loss/weight^2]
            The width used.
        """
        places = finite_array("at", at, ndim=1)
        low, high = self.interval
        if width is None:
            width = 2.0 * (high - low) / self.nodes.shape[1] or 1e-3 * max(abs(high), 1e-300)
        sigma = real("width", width, low=0.0)
        values = np.empty((self.probes, len(places)))
        for k in range(self.probes):
            distance = (places[:, None] - self.nodes[k]) / sigma
            values[k] = np.exp(-0.5 * distance**2) @ self.weights[k] / (sigma * (2 * np.pi) ** 0.5)
        spread = values.std(axis=0, ddof=1) / self.probes**0.5
        return values.mean(axis=0), spread, sigma

    def count_between(self, low: float, high: float) -> EigenvalueCount:
        """Estimate how many eigenvalues lie in ``(low, high)``.

        Parameters
        ----------
        low, high : float [loss/weight^2]
            The interval; infinite ends are allowed.

        Returns
        -------
        EigenvalueCount

        Raises
        ------
        OutOfRangeError
            If the interval is empty.
        """
        if not low < high:
            msg = f"`low` must be below `high`, got {low:g} and {high:g}"
            raise OutOfRangeError(msg)
        inside = (self.nodes > low) & (self.nodes < high)
        value, stderr = self._mean((self.weights * inside).sum(axis=1))
        below, above = self._shares_below(low), self._shares_below(high)
        least = np.maximum(above[0] - below[1], 0.0).mean()
        most = np.minimum(above[1] - below[0], 1.0).mean()
        size = self.parameters
        return EigenvalueCount(value=value, stderr=stderr, low=size * least, high=size * most)

    def _shares_below(self, edge: float) -> tuple[FloatArray, FloatArray]:
        # With theta_k <= edge < theta_{k+1}: the weights before k, and those up to k + 1.
        if not np.isfinite(edge):
            share = np.full(self.probes, float(edge > 0))
            return share, share
        passed = np.concatenate([np.zeros((self.probes, 1)), np.cumsum(self.weights, axis=1)], 1)
        k = (self.nodes <= edge).sum(axis=1)
        rows, steps = np.arange(self.probes), self.nodes.shape[1]
        return passed[rows, np.maximum(k - 1, 0)], passed[rows, np.minimum(k + 1, steps)]

    def _mean(self, per_probe: FloatArray) -> tuple[float, float]:
        values = self.parameters * per_probe
        return float(values.mean()), float(values.std(ddof=1) / self.probes**0.5)


def spectral_density(
    loss: DifferentiableLoss,
    w: ArrayLike,
    *,
    probes: int = 10,
    steps: int = 80,
    vectors: str = "rademacher",
    rng: RandomState = 0,
    gauss_newton: bool = False,
    progress: Callable[[int], None] | None = None,
) -> SpectralDensity:
    """Estimate the density of eigenvalues of the Hessian of a loss at a point.

    Parameters
    ----------
    loss : DifferentiableLoss
        A network of :mod:`fracsde.networks`, a ``TorchLoss``, or an object with their methods.
    w : (P,) array_like [weight]
        The point.
    probes : int
        Random vectors, at least 2.
    steps : int
        Lanczos steps from each; at most ``P`` are taken.
    vectors : {"rademacher", "gaussian"}
        Random signs, which give the trace of a diagonal matrix without error, or directions
        without a preference.
    rng : int, SeedSequence or Generator
        Randomness.
    gauss_newton : bool
        Whether to take the Gauss-Newton matrix in place of the Hessian.
    progress : callable, optional
        Called as ``progress(products)`` after each step of a group of vectors.

    Returns
    -------
    SpectralDensity
        ``probes * steps`` products; a vector of steps of length ``P`` is held for each of the
        probes that run together, half a gigabyte at most, or one probe's.

    References
    ----------
    [Ubaru2017]_, [Ghorbani2019]_

    Examples
    --------
    >>> from fracsde.networks import SoftmaxRegression
    >>> net = SoftmaxRegression(inputs=np.eye(3), targets=[0, 1, 2], weight_decay=0.1)
    >>> found = spectral_density(net, np.zeros(12), steps=12)
    >>> trace, stderr = found.trace
    >>> bool(abs(trace - np.trace(net.hessian(np.zeros(12)))) < 4 * stderr)
    True
    """
    point, products = products_of(loss, w, gauss_newton)
    size = len(point)
    probes = integer("probes", probes, low=2, remedy="the error is their spread")
    steps = min(integer("steps", steps, low=1), size)
    choice("vectors", vectors, ("rademacher", "gaussian"))
    generator = np.random.default_rng(rng)
    if vectors == "rademacher":
        starts = generator.choice([-1.0, 1.0], size=(probes, size))
    else:
        starts = generator.standard_normal((probes, size))
    nodes, weights, count = np.empty((probes, steps)), np.empty((probes, steps)), 0
    group = max(1, _HELD // (size * steps))
    for first in range(0, probes, group):
        part = slice(first, first + group)

        def told(V: FloatArray) -> FloatArray:
            nonlocal count
            found = products(V)
            count += V.shape[1]
            if progress is not None:
                progress(count)
            return found

        nodes[part], weights[part] = _rules(told, starts[part], steps)
    return SpectralDensity(
        nodes=nodes,
        weights=weights,
        parameters=size,
        vectors=vectors,
        products=count,
        provenance=provenance(point, probes, steps, vectors, gauss_newton, seed=rng),
    )


def _rules(
    products: Callable[[FloatArray], FloatArray], starts: FloatArray, steps: int
) -> tuple[FloatArray, FloatArray]:
    # Gauss rules of independent recursions that share their products.
    probes, size = starts.shape
    Q = np.empty((probes, steps, size))
    Q[:, 0] = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    alpha, beta = np.zeros((probes, steps)), np.zeros((probes, steps))
    for k in range(steps):
        r = products(np.ascontiguousarray(Q[:, k].T)).T
        alpha[:, k] = np.einsum("pi,pi->p", Q[:, k], r)
        if k == steps - 1:
            break
        known = Q[:, : k + 1]
        for _ in range(2):
            along = known @ r[..., None]
            r = r - (known.transpose(0, 2, 1) @ along)[..., 0]
        beta[:, k] = np.linalg.norm(r, axis=1)
        scale = np.abs(alpha[:, : k + 1]).max(axis=1) + beta[:, : k + 1].max(axis=1)
        # An invariant space: what follows has no weight, and zero will do for it.
        stuck = beta[:, k] <= size * np.finfo(np.float64).eps * scale
        beta[stuck, k] = 0.0
        Q[:, k + 1] = np.where(stuck[:, None], 0.0, r / np.where(stuck, 1.0, beta[:, k])[:, None])
    nodes, weights = np.empty((probes, steps)), np.empty((probes, steps))
    for p in range(probes):
        ended = np.flatnonzero(beta[p, : steps - 1] == 0.0)
        if len(ended):
            alpha[p, ended[0] + 1 :] = alpha[p, 0]  # inside the range of the eigenvalues
        nodes[p], vectors = eigh_tridiagonal(alpha[p], beta[p, : steps - 1])
        weights[p] = vectors[0] ** 2
    return nodes, weights
