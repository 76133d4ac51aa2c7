r"""The L1 scheme for the Caputo derivative of order :math:`0 < \alpha \le 1`.

On each cell :math:`[t_k, t_{k+1}]` the unknown is replaced by its chord, so that the memory
integral becomes a sum over past increments,

.. math::
    (D^\alpha u)(t_n) \approx \sum_{k=0}^{n-1} w_{n,k}\,(u_{k+1} - u_k),
    \qquad
    w_{n,k} = \frac{(t_n - t_k)^{1-\alpha} - (t_n - t_{k+1})^{1-\alpha}}
                   {\Gamma(2-\alpha)\,(t_{k+1} - t_k)} .

Accuracy belongs to the mesh as much as to the scheme.  Solutions of the fractional Fokker-Planck
equation start like :math:`u(0) + c\,t^\alpha`; on the mesh :math:`t_k = T (k/N)^r` the orders in
``1/N`` are then

======================  ================================  ==========================
mesh                    largest nodal error               error at the final time
======================  ================================  ==========================
uniform, :math:`r = 1`  :math:`\alpha`                    1
graded                  :math:`\min(r\alpha, 2-\alpha)`   :math:`\min(r, 2-\alpha)`
======================  ================================  ==========================

and :math:`2 - \alpha` everywhere for smooth data.  ``TimeGrid.graded(T, N, r=(2 - alpha) / alpha)``
is the intended partner when early times matter.  ``tests/schemes/test_l1.py`` measures the table.

Each weight is the average of an increasing kernel over one cell.  Hence weights are positive and
grow with ``k`` on every mesh, and hence densities stay positive; where neighbouring weights agree
to the last digit the loop clips the rounding of their difference.  Cost per step is one
tridiagonal solve and the history; a uniform mesh is factorised once.  At :math:`\alpha = 1` all
weights but the newest vanish, and the scheme is backward Euler.

Not here: the stepping loop (:mod:`fracsde.schemes.marching`), the sum itself
(:mod:`fracsde.schemes.history`).

References: [LinXu2007]_ for the uniform mesh, [Stynes2017]_ for graded meshes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde.schemes.piecewise import PiecewiseScheme

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["L1"]


@dataclass(frozen=True, kw_only=True)
class L1(PiecewiseScheme):
    """Piecewise-linear collocation of the Caputo derivative, on any mesh.

    Parameters
    ----------
    history : History
        How the memory sum is evaluated.

    References
    ----------
    [LinXu2007]_, [Stynes2017]_

    Examples
    --------
    A straight line is its own chord, so L1 differentiates it exactly on any mesh:

    >>> t = np.array([0.0, 0.1, 0.5, 2.0])
    >>> w = L1().weights(t, alpha=0.6)
    >>> bool(abs(w @ np.diff(t) - 2.0**0.4 / gamma(1.4)) < 1e-15)
    True
    """

    citation: ClassVar[tuple[str, ...]] = ("LinXu2007", "Stynes2017")

    def order(self, *, alpha: float, grading: float = 1.0, final: bool = False) -> float:
        """Return the order in ``1/N`` for data that start like ``t**alpha``.

        Parameters
        ----------
        alpha : float [1]
            Order of the derivative.
        grading : float [1]
            Exponent of the mesh.
        final : bool
            The error at the final time instead of the largest nodal error.

        Returns
        -------
        float
        """
        return min(grading if final else grading * alpha, 2.0 - alpha)

    def weights(self, times: FloatArray, *, alpha: float) -> FloatArray:
        """Return the weights of the increments that end at the last time.

        Parameters
        ----------
        times : (n + 1,) float64 [t]
            Strictly increasing, starting where memory starts.
        alpha : float [1]
            Order of the derivative, ``0 < alpha <= 1``.

        Returns
        -------
        (n,) ndarray of float64 [t**-alpha]
            ``w[k]`` multiplies ``u[k + 1] - u[k]``; positive, growing with ``k``.
        """
        cell = np.diff(times)
        if alpha == 1.0:
            weights = np.zeros_like(cell)
            weights[-1] = 1.0 / cell[-1]
            return weights
        left = times[-1] - times[:-1]
        # The difference of powers cancels when a cell is short against the time elapsed since, as
        # the first cells of a graded mesh are: at alpha = 0.2, N = 500 the plain formula loses
        # every digit and even the sign.
        shrink = np.append(np.log1p(-cell[:-1] / left[:-1]), -np.inf)
        powers = -(left ** (1 - alpha)) * np.expm1((1 - alpha) * shrink)
        return np.asarray(powers / (gamma(2 - alpha) * cell))
