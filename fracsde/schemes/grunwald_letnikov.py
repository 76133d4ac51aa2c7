r"""The Grünwald-Letnikov scheme for the Caputo derivative on equal steps.

The Caputo derivative is the convolution of :math:`u - u_0` with the power series of the symbol of
the backward difference,

.. math::
    (D^\alpha u)(t_n) \approx \tau^{-\alpha} \sum_{j=0}^{n} g_j\,(u_{n-j} - u_0), \qquad
    \sum_j g_j z^j = (1 - z)^\alpha ,

and summed by parts, with :math:`(1 - z)^{\alpha - 1} = \sum_j b_j z^j`,

.. math::
    (D^\alpha u)(t_n) \approx \tau^{-\alpha} \sum_{k=0}^{n-1} b_{n-1-k}\,(u_{k+1} - u_k),
    \qquad b_0 = 1,\; b_j = b_{j-1} \Bigl(1 - \frac{\alpha}{j}\Bigr).

The product has positive factors: no digit is lost, weights are positive and fall with ``j``, and
densities stay positive.  The order in ``1/N`` is :math:`\alpha` for the largest nodal error of
data that start like :math:`t^\alpha`, and 1 at the final time and for smooth data;
``tests/schemes/test_grunwald_letnikov.py`` measures both.  Cost per step is one tridiagonal solve
with a matrix factorised once, and the history.  At :math:`\alpha = 1` it is backward Euler.

The generating function needs equal steps: on another mesh there is no such convolution.

Not here: convolution quadratures of higher order.  Reference: [Lubich1986]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde.errors import GridError
from fracsde.schemes.base import ConvolutionScheme

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["GrunwaldLetnikov"]


@dataclass(frozen=True, kw_only=True)
class GrunwaldLetnikov(ConvolutionScheme):
    """Convolution quadrature of backward Euler, on equal steps.

    Parameters
    ----------
    history : History
        How the memory sum is evaluated.

    References
    ----------
    [Lubich1986]_

    Examples
    --------
    >>> GrunwaldLetnikov().weights(np.array([0.0, 1.0, 2.0, 3.0]), alpha=0.5)
    array([0.375, 0.5  , 1.   ])
    """

    citation: ClassVar[tuple[str, ...]] = ("Lubich1986",)
    equal_steps_because: ClassVar[str] = "its weights are the power series of one step"

    def order(self, *, alpha: float, grading: float = 1.0, final: bool = False) -> float:
        """Return the order in ``1/N`` for data that start like ``t**alpha``.

        Parameters
        ----------
        alpha : float [1]
            Order of the derivative.
        grading : float [1]
            Exponent of the mesh, 1.
        final : bool
            The error at the final time instead of the largest nodal error.

        Returns
        -------
        float

        Raises
        ------
        GridError
            If the mesh is graded.
        """
        if grading != 1.0:
            msg = f"`grading` must be 1, got {grading:g}; Grünwald-Letnikov needs equal steps"
            raise GridError(msg)
        return 1.0 if final else alpha

    def weights(self, times: FloatArray, *, alpha: float) -> FloatArray:
        """Return the weights of the increments that end at the last time.

        Parameters
        ----------
        times : (n + 1,) float64 [t]
            Equally spaced.
        alpha : float [1]
            Order of the derivative, ``0 < alpha <= 1``.

        Returns
        -------
        (n,) ndarray of float64 [t**-alpha]
            ``w[k]`` multiplies ``u[k + 1] - u[k]``; positive, growing with ``k``.
        """
        n = len(times) - 1
        step = (times[-1] - times[0]) / n
        b = np.cumprod(np.append(1.0, 1.0 - alpha / np.arange(1.0, n)))
        return np.asarray(b[::-1] * step**-alpha)
