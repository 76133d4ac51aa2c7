r"""The L2-1 sigma scheme for the Caputo derivative of order :math:`0 < \alpha \le 1`.

The equation is collocated at :math:`t^* = t_{n-1} + \theta \tau_{n-1}` with :math:`\theta = 1 -
\alpha/2`, where the chord of the newest cell is of second order.  On every earlier cell the unknown
is replaced by the parabola through its ends and the next node,

.. math::
    (D^\alpha u)(t^*) \approx \sum_{k=0}^{n-1} \mu_k\, \delta_k
     + \sum_{k=0}^{n-2} \frac{2 \nu_k}{\tau_k + \tau_{k+1}}
        \Bigl(\frac{\delta_{k+1}}{\tau_{k+1}} - \frac{\delta_k}{\tau_k}\Bigr) ,

with the moments :math:`\mu_k, \nu_k` of the kernel over the cells
(:mod:`fracsde.schemes.piecewise`); the operator acts on :math:`\theta u_n + (1 - \theta) u_{n-1}`.
Orders in ``1/N``, for data that start like :math:`t^\alpha` on the mesh
:math:`t_k = T (k/N)^r`, and for smooth data:

======================  ================================  ==========================
mesh                    largest nodal error               error at the final time
======================  ================================  ==========================
uniform, :math:`r = 1`  :math:`\alpha`                    1
graded                  :math:`\min(r\alpha, 2)`          :math:`\min(r, 2)`
smooth data             2                                 2
======================  ================================  ==========================

so ``TimeGrid.graded(T, N, 2 / alpha)`` is the intended partner when early times matter.
``tests/schemes/test_l2_sigma.py`` measures the table.  Modes that are stiff against the step relax
slowly and with alternating sign, as with Crank-Nicolson, and densities may turn negative by the
error of the scheme.  On meshes whose steps grow and shrink a thousandfold, in turns or at random,
modes of all rates stay below their start (``tests/schemes/test_l12.py``).  Cost per step is one
tridiagonal solve and the history; equal steps are factorised once.  At :math:`\alpha = 1` it is
Crank-Nicolson.

Not here: the stepping loop (:mod:`fracsde.schemes.marching`), the sum itself
(:mod:`fracsde.schemes.history`).

References: [Alikhanov2015]_ for equal steps, [ChenStynes2019]_ for graded meshes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fracsde.schemes.piecewise import PiecewiseScheme

__all__ = ["L2Sigma"]


@dataclass(frozen=True, kw_only=True)
class L2Sigma(PiecewiseScheme):
    """Piecewise-quadratic collocation inside the step, on any mesh.

    Parameters
    ----------
    history : History
        How the memory sum is evaluated.

    References
    ----------
    [Alikhanov2015]_, [ChenStynes2019]_

    Examples
    --------
    At order one it is Crank-Nicolson:

    >>> import numpy as np
    >>> L2Sigma().weights(np.array([0.0, 1.0, 3.0]), alpha=1.0), L2Sigma().point(1.0)
    (array([0. , 0.5]), 0.5)
    """

    citation: ClassVar[tuple[str, ...]] = ("Alikhanov2015", "ChenStynes2019")
    positive: ClassVar[bool] = False
    lean: ClassVar[int] = 1

    def point(self, alpha: float) -> float:
        """Return where in its step the equation holds, as a share of the step.

        Parameters
        ----------
        alpha : float [1]
            Order of the derivative.

        Returns
        -------
        float [1]
        """
        return 1.0 - 0.5 * alpha

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
        if alpha == 1.0:  # such data are smooth
            return 2.0
        return min(grading if final else grading * alpha, 2.0)
