r"""Sines on an interval, by values at equally spaced nodes.

With :math:`N = n + 1`, nodes :math:`x_j = a + j h`, :math:`h = (b - a)/N`, and
:math:`\theta = \pi (x - a)/(b - a)`,

.. math::
    \psi(x) = \sum_{j=1}^{n} \psi_j\, c_j(x), \qquad
    c_j(x) = \frac2N \sum_{k=1}^{n} \sin k\theta_j \sin k\theta :

periodic sinc functions with odd images beyond the ends, which tend to
:math:`\mathrm{sinc}((x - x_j)/h)` as the ends go to infinity.  Their derivatives at the half
points :math:`x_{m - 1/2}`, :math:`m = 1 \ldots N`, are

.. math::
    G_{mj} = -\frac{\pi}{4 N (b - a)} \bigl[ q_{m - 1/2 - j} - q_{m - 1/2 + j} \bigr], \qquad
    q_d = \frac{\sin \pi d}{\sin^2 (\pi d / 2N)} ,

and :math:`G^T G`, in closed form too, is minus the second derivative.

A function that is small but not zero at the ends jumps to its odd image.  Between nodes the jump
rings through the whole interval: at the centre by its height over :math:`n`.  Where the function
is a smooth multiple of a known shape near the ends, that multiple is found as the cubic that
leaves least in the highest sines, taken out, and evaluated in closed form; the rest is smooth.

``tests/operators/test_sinc.py`` measures all of it.

Not here: the operator (:mod:`fracsde.operators.sinc`).

Reference: [ColbertMiller1992]_ for the second derivative.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import dst

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["SineBasis"]

_ORDER = 4  # of the polynomial that is fitted at the ends
_RIDGE = 1e-13


@dataclass(frozen=True, kw_only=True, eq=False)
class SineBasis:
    """Sines on an interval, by their values at equally spaced nodes.

    Parameters
    ----------
    ends : (float, float) [x]
        Where functions are zero.
    size : int
        Number of nodes.
    """

    ends: tuple[float, float]
    size: int

    @cached_property
    def nodes(self) -> FloatArray:
        """Nodes, ``(n,)`` [x]."""
        return np.asarray(self.ends[0] + self.spacing * np.arange(1.0, self.size + 1.0))

    @cached_property
    def weights(self) -> FloatArray:
        """Quadrature weights, ``(n,)`` [x]: all alike."""
        return np.full(self.size, self.spacing)

    @property
    def spacing(self) -> float:
        """Distance of the nodes [x]."""
        return (self.ends[1] - self.ends[0]) / (self.size + 1)

    @property
    def _high(self) -> int:
        # How many sines count as the highest.
        return max(8, self.size // 8)

    @property
    def half_points(self) -> FloatArray:
        """Points halfway between nodes and ends, ``(n + 1,)`` [x]."""
        return np.asarray(self.ends[0] + self.spacing * (np.arange(self.size + 1) + 0.5))

    def coefficients(self, values: FloatArray) -> FloatArray:
        """Return sine coefficients of values at the nodes.

        Returns
        -------
        (..., n) ndarray
        """
        return np.asarray(dst(values, type=1, axis=-1) / (self.size + 1))

    def split(self, values: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what of a function is its shape at the ends, and sine coefficients of the rest.

        Parameters
        ----------
        values : (..., t, n) float64
            At the nodes.
        shape : (..., n) float64
            A function whose quotients with the values are smooth at the ends.

        Returns
        -------
        polynomial : (..., t, 4) ndarray
            Chebyshev coefficients of the multiple of ``shape``.
        rest : (..., t, n) ndarray
            Sine coefficients.
        """
        full = self.coefficients(values)
        models = self.coefficients(shape[..., None, :] * _chebyshev(self._relative(self.nodes)))
        high = self._high
        # Ridge: no multiple so large that its rounding is seen.
        size = np.linalg.norm(models, axis=-1)
        columns = np.concatenate(
            [models[..., -high:], _RIDGE * size[..., None] * np.eye(_ORDER)], axis=-1
        )
        Q, R = np.linalg.qr(np.swapaxes(columns, -1, -2))
        wanted = np.swapaxes(Q[..., :high, :], -1, -2) @ np.swapaxes(full[..., -high:], -1, -2)
        polynomial = np.swapaxes(np.linalg.solve(R, wanted), -1, -2)
        return polynomial, full - polynomial @ models

    def rough(self, values: FloatArray, shape: FloatArray) -> FloatArray:
        """Return the highest sines of the rest, back at the nodes.

        Parameters
        ----------
        values, shape
            As in :meth:`split`.

        Returns
        -------
        (..., t, n) ndarray
        """
        _, rest = self.split(values, shape)
        rest[..., : self.size - self._high] = 0.0
        return np.asarray(0.5 * dst(rest, type=1, axis=-1))

    def evaluate(
        self, values: FloatArray, shape: FloatArray, x: FloatArray, shape_at_x: FloatArray
    ) -> FloatArray:
        """Return values at points inside the ends.

        Parameters
        ----------
        values, shape
            As in :meth:`split`, of one interval.
        x : (m,) float64 [x]
            Points.
        shape_at_x : (m,) float64
            The shape there.

        Returns
        -------
        (t, m) ndarray
        """
        polynomial, rest = self.split(values, shape)
        a, b = self.ends
        k = np.arange(1, self.size + 1)
        sines = np.sin(k[:, None] * (np.pi * (x - a) / (b - a)))
        return np.asarray(polynomial @ (shape_at_x * _chebyshev(self._relative(x))) + rest @ sines)

    def _relative(self, x: FloatArray) -> FloatArray:
        a, b = self.ends
        return (2.0 * x - (a + b)) / (b - a)

    def derivative(self) -> FloatArray:
        """Return the matrix from values at nodes to derivatives at half points.

        Returns
        -------
        (n + 1, n) ndarray [1/x]
        """
        N = self.size + 1
        d = np.arange(-self.size, 2 * N) - 0.5
        sign = np.where(np.arange(-self.size, 2 * N) % 2 == 0, -1.0, 1.0)
        q = sign / np.sin(0.5 * np.pi * d / N) ** 2
        m, j = np.arange(1, N + 1)[:, None], np.arange(1, N)
        scale = -np.pi / (4.0 * N * (self.ends[1] - self.ends[0]))
        return np.asarray(scale * (q[m - j + self.size] - q[m + j + self.size]))

    def second_derivative(self) -> FloatArray:
        """Return minus the matrix of the second derivative at the nodes.

        Returns
        -------
        (n, n) ndarray [1/x^2]
            Symmetric, positive definite: ``derivative().T @ derivative()``.
        """
        N = self.size + 1
        d = np.arange(1, 2 * N)
        q = np.empty(2 * N)
        q[1:] = np.where(d % 2 == 0, 1.0, -1.0) / np.sin(0.5 * np.pi * d / N) ** 2
        q[0] = (2.0 * N * N + 1.0) / 3.0
        i = np.arange(1, N)
        scale = 0.5 * (np.pi / (self.ends[1] - self.ends[0])) ** 2
        return np.asarray(scale * (q[np.abs(i[:, None] - i)] - q[i[:, None] + i]))


def _chebyshev(y: FloatArray) -> FloatArray:
    # The first four Chebyshev polynomials, (4, m).
    return np.stack([np.ones_like(y), y, 2.0 * y * y - 1.0, (4.0 * y * y - 3.0) * y])
