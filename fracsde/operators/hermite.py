r"""The Hermite operator: a Gaussian times polynomials, known at Gauss points.

With :math:`\xi = (x - c)/\ell` functions are

.. math::
    \psi(x) = \sum_{k=0}^{n-1} a_k\, \varphi_k(\xi), \qquad
    \varphi_{k+1} = \sqrt{\tfrac{2}{k+1}}\, \xi \varphi_k - \sqrt{\tfrac{k}{k+1}}\, \varphi_{k-1},
    \qquad \varphi_0 = \pi^{-1/4} e^{-\xi^2/2} ,

orthonormal, and bounded however large :math:`k` is.  Their values at the ``n`` zeros of
:math:`\varphi_n` determine them, with positive quadrature weights
:math:`\ell / \sum_k \varphi_k^2`.  The matrix

.. math::
    H_{kl} = \int \bigl( D\, \varphi_k' \varphi_l' + U \varphi_k \varphi_l \bigr) dx

is taken by quadrature at the ``n + 1`` zeros of :math:`\varphi_{n+1}`, which lie between and just
beyond the nodes, as half points do: exact for constant ``D`` and quadratic ``U``, and so for every
Ornstein-Uhlenbeck process at every scale; at :math:`\ell^2 = 2 D / \theta` its eigenvalues are
:math:`k \theta` to rounding.

The scale decides how fast the series converges.  By default it is the one, out of those at and
below that of the equilibrium, that resolves start and equilibrium best: a narrow start wants a
smaller scale.  ``tests/operators/test_hermite.py`` measures both claims.  Potentials that rise
like an exponential do not suit polynomials, and converge slowly; sinc functions serve them.

Not here: functions of the operator (:mod:`fracsde.operators.spectral`); ends, there are none, so
that domains with walls are served by :mod:`fracsde.operators.sinc`.

Reference: [Boyd2001]_, section 17.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import eigh_tridiagonal

from fracsde._check import integer, real
from fracsde.errors import UnsupportedError
from fracsde.operators.basis import tails
from fracsde.operators.landscape import VOID, Landscape, rough_phi
from fracsde.operators.spectral import SpectralGenerator

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["Hermite", "HermiteBasis"]

_SHRINK = 0.93 ** np.arange(24)  # scales tried, over that of the equilibrium
_WIDEST = 3.0  # reach of the outermost point, over the reach of the density


def hermite_functions(count: int, xi: FloatArray) -> FloatArray:
    """Return the first Hermite functions at points.

    Parameters
    ----------
    count : int
        How many.
    xi : (m,) float64 [1]
        Points.

    Returns
    -------
    (count, m) ndarray [1]
    """
    phi = np.empty((count, len(xi)))
    log = -0.5 * xi * xi
    # Where the Gaussian underflows its exponent is kept apart until the polynomial has grown.
    far = float(log.min(initial=0.0)) < -700.0
    before, now = np.zeros_like(xi), np.full_like(xi, np.pi**-0.25)
    if not far:
        now, log = now * np.exp(log), np.zeros_like(xi)
    for k in range(count):
        if far:
            size = np.maximum(np.abs(now), np.abs(before))
            scale = np.where(size > 1e100, size, 1.0)
            before, now, log = before / scale, now / scale, log + np.log(scale)
            phi[k] = now * np.exp(log)
        else:
            phi[k] = now
        before, now = now, np.sqrt(2 / (k + 1)) * xi * now - np.sqrt(k / (k + 1)) * before
    return phi


@lru_cache(maxsize=16)
def _gauss(n: int) -> tuple[FloatArray, FloatArray]:
    # Zeros of the nth Hermite function, and weights for products of functions.
    xi = eigh_tridiagonal(np.zeros(n), np.sqrt(0.5 * np.arange(1, n)), eigvals_only=True)
    xi = 0.5 * (xi - xi[::-1])
    weights = 1.0 / (hermite_functions(n, xi) ** 2).sum(axis=0)
    xi.flags.writeable = weights.flags.writeable = False
    return xi, weights


@lru_cache(maxsize=16)
def _tables(n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    # To the nodes, orthogonal, and functions and derivatives at n + 1 points times root weights.
    xi, weights = _gauss(n)
    to_nodes = hermite_functions(n, xi) * np.sqrt(weights)
    q, weights = _gauss(n + 1)
    phi = hermite_functions(n + 1, q) * np.sqrt(weights)
    k = np.arange(n)[:, None]
    lower = np.concatenate([np.zeros((1, n + 1)), phi[: n - 1]])
    slopes = np.sqrt(0.5 * k) * lower - np.sqrt(0.5 * (k + 1)) * phi[1:]
    tables = to_nodes, phi[:n].copy(), slopes
    for table in tables:
        table.flags.writeable = False
    return tables


@dataclass(frozen=True, kw_only=True, eq=False)
class HermiteBasis:
    """Hermite functions, by their values at Gauss points.

    Parameters
    ----------
    centre, scale : float [x]
        Of ``xi = (x - centre) / scale``.
    size : int
        Number of functions and of nodes.
    """

    centre: float
    scale: float
    size: int

    @cached_property
    def nodes(self) -> FloatArray:
        """Nodes, ``(n,)`` [x]."""
        return np.asarray(self.centre + self.scale * _gauss(self.size)[0])

    @cached_property
    def weights(self) -> FloatArray:
        """Quadrature weights, ``(n,)`` [x]."""
        return np.asarray(self.scale * _gauss(self.size)[1])

    @property
    def between(self) -> FloatArray:
        """Points between and just beyond the nodes, ``(n + 1,)`` [x]."""
        return np.asarray(self.centre + self.scale * _gauss(self.size + 1)[0])

    @property
    def ends(self) -> tuple[float, float]:
        """The outermost points: beyond them functions fall off like a Gaussian [x]."""
        return float(self.between[0]), float(self.between[-1])

    def rough(self, values: FloatArray, shape: FloatArray) -> FloatArray:
        """Return the last functions' part of values at nodes.

        Parameters
        ----------
        values : (..., t, n) float64
            At the nodes.
        shape : (..., n) float64
            Not needed: there are no ends.

        Returns
        -------
        (..., t, n) ndarray
        """
        root = np.sqrt(_gauss(self.size)[1])
        high = _tables(self.size)[0][-max(8, self.size // 8) :]
        return np.asarray(((values * root) @ high.T) @ high / root)

    def evaluate(
        self,
        values: FloatArray,
        shape: FloatArray,
        x: FloatArray,
        shape_at_x: FloatArray,
    ) -> FloatArray:
        """Return values at points.

        Parameters
        ----------
        values : (t, n) float64
            At the nodes.
        shape, shape_at_x
            Not needed.
        x : (m,) float64 [x]
            Points.

        Returns
        -------
        (t, m) ndarray
        """
        coefficients = (values * np.sqrt(_gauss(self.size)[1])) @ _tables(self.size)[0].T
        return np.asarray(
            coefficients @ hermite_functions(self.size, (x - self.centre) / self.scale)
        )

    def matrix(self, diffusion: FloatArray, curvature: FloatArray) -> FloatArray:
        """Return ``H`` at the nodes.

        Parameters
        ----------
        diffusion : (n + 1,) float64 [x^2/t]
            ``D`` at the points between.
        curvature : (n + 1,) float64 [1/t]
            ``U`` there.

        Returns
        -------
        (n, n) ndarray [1/t]
            Symmetric.
        """
        to_nodes, phi, slopes = _tables(self.size)
        H = (slopes * (diffusion / self.scale**2)) @ slopes.T + (phi * curvature) @ phi.T
        H = to_nodes.T @ H @ to_nodes
        return 0.5 * (H + H.T)


@dataclass(frozen=True, kw_only=True)
class Hermite:
    """Scaled Hermite functions on the line.

    Serves smooth problems on the line, or with walls so far out that no point lies beyond them.

    Parameters
    ----------
    modes : int
        Number of functions, from 8 to 1024.
    centre : float, optional [x]
        Where the functions are centred; by default the mean of the equilibrium.
    scale : float, optional [x]
        Their length; by default the one that resolves start and equilibrium best.  That of an
        equilibrium of standard deviation ``s`` is ``sqrt(2) s``.

    References
    ----------
    [Boyd2001]_

    Examples
    --------
    >>> from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian(mean=0.5, std=0.9))
    >>> rates, _ = Hermite(modes=24, scale=np.sqrt(2)).discretise(problem).eigen()
    >>> bool(np.abs(rates - np.arange(24)).max() < 1e-11)
    True
    """

    citation: ClassVar[tuple[str, ...]] = ("Boyd2001",)

    modes: int = 48
    centre: float | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "modes", integer("modes", self.modes, low=8, high=1024))
        if self.centre is not None:
            object.__setattr__(self, "centre", real("centre", self.centre))
        if self.scale is not None:
            object.__setattr__(self, "scale", real("scale", self.scale, low=0.0))

    def discretise(self, problem: FokkerPlanck) -> SpectralGenerator:
        """Return the operator of a problem.

        Parameters
        ----------
        problem : FokkerPlanck
            On the line, or with walls beyond all points.

        Returns
        -------
        SpectralGenerator
        """
        core = Landscape.of(problem)
        core.refuse_felt_walls()
        basis = self._basis(core)
        landscape = Landscape.of(problem, box=basis.ends)
        landscape.check_smooth()
        between = basis.between
        matrix = basis.matrix(problem.diffusion_at(between), landscape.curvature(between))
        generator = SpectralGenerator(basis=basis, landscape=landscape, matrix=matrix)
        generator.refuse_unresolved()
        return generator

    def _basis(self, core: Landscape) -> HermiteBasis:
        # Of all scales whose points lie in the domain the one that resolves most.
        x = np.linspace(*core.box, 513)
        weight = np.exp(-core.phi(x))
        mean = float(weight @ x / weight.sum())
        std = float(np.sqrt(weight @ (x - mean) ** 2 / weight.sum()))
        centre = mean if self.centre is None else self.centre
        outermost = float(_gauss(self.modes + 1)[0][-1])
        room = min(centre - core.problem.domain[0], core.problem.domain[1] - centre)
        if self.scale is not None:
            scales = np.array([self.scale])
        else:
            reach = min(room, _WIDEST * max(core.box[1] - centre, centre - core.box[0]))
            reach = _steep(core.problem, centre, reach)
            scales = np.sqrt(2.0) * std * _SHRINK
            scales = scales[scales * outermost <= reach]
        fitting = scales[scales * outermost <= room]
        if not fitting.size:
            msg = (
                f"{self.modes} Hermite functions do not fit: their outermost point would lie "
                f"{scales.min(initial=np.inf) * outermost:.3g} from the centre {centre:.3g}, and "
                f"the domain ends {room:.3g} from it; use Sinc(points={self.modes})"
            )
            raise UnsupportedError(msg)
        if len(fitting) == 1:
            return HermiteBasis(centre=centre, scale=float(fitting[0]), size=self.modes)
        half = float(fitting.max()) * outermost
        wide = Landscape.of(core.problem, box=(centre - half, centre + half))
        like = HermiteBasis(centre=centre, scale=1.0, size=self.modes)
        nodes = centre + fitting[:, None] * _gauss(self.modes)[0]
        start, equilibrium = tails(like, wide, nodes)
        # What is lost beyond the outermost nodes: psi is bounded there by climb and equilibrium,
        # and its loss is felt at second order, going out and coming back.
        outer = nodes[:, [0, -1]]
        phi = wide.phi(outer.reshape(-1)).reshape(outer.shape)
        beyond = np.exp(np.minimum(2.0 * np.array(core.climb) - phi, 0.0)).max(axis=1)
        best = int(np.argmin(np.maximum(np.maximum(start, equilibrium), beyond)))
        return HermiteBasis(centre=centre, scale=float(fitting[best]), size=self.modes)


def _steep(problem: FokkerPlanck, centre: float, reach: float) -> float:
    # The distance, up to reach, at which the equilibrium is as good as zero on one side.
    y = np.linspace(0.0, reach, 514)[1:-1]
    x = np.concatenate([centre - y[::-1], centre + y])
    outside = (rough_phi(problem, x) > VOID).reshape(2, -1)
    outside = outside[0, ::-1] | outside[1]
    return float(y[np.argmax(outside)]) if np.any(outside) else reach
