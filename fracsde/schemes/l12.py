r"""The L1-2 scheme for the Caputo derivative of order :math:`0 < \alpha \le 1`.

On the first cell the unknown is replaced by its chord, on later cells by the parabola through
their ends and the node before,

.. math::
    (D^\alpha u)(t_n) \approx \sum_{k=0}^{n-1} \mu_k\, \delta_k
     + \sum_{k=1}^{n-1} \frac{2 \nu_k}{\tau_{k-1} + \tau_k}
        \Bigl(\frac{\delta_k}{\tau_k} - \frac{\delta_{k-1}}{\tau_{k-1}}\Bigr) ,

with the moments :math:`\mu_k, \nu_k` of the kernel over the cells
(:mod:`fracsde.schemes.piecewise`).  A cell more than :math:`1 + \sqrt 2` times as long as the one
before takes its chord too.  Beyond that ratio steps of BDF2 amplify errors, and a parabola would
carry the slope of a short cell over a long one: on the mesh :math:`(k/N)^{20}` modes would grow
four million times at :math:`\alpha = 0.1`.  With the chords modes of every rate stay below their
start on all meshes tried, and graded meshes keep their order, as few of their steps grow so fast.
Where every other step does, the order is that of :class:`~fracsde.schemes.l1.L1`.
Orders in ``1/N``, for data that start like :math:`t^\alpha` on the mesh :math:`t_k = T (k/N)^r`,
and for smooth data:

======================  ================================  ==========================
mesh                    largest nodal error               error at the final time
======================  ================================  ==========================
uniform, :math:`r = 1`  :math:`\alpha`                    1
graded                  :math:`\min(r\alpha, 3-\alpha)`   :math:`\min(r, 3-\alpha)`
smooth data             :math:`3 - \alpha`                :math:`3 - \alpha`
======================  ================================  ==========================

``tests/schemes/test_l12.py`` measures the table.  The first cell is a chord: smooth data with
:math:`u''(0) \ne 0` leave an error of order 2 there on a uniform mesh.  Weights change their sign,
so densities may turn negative by the error of the scheme.  Cost per step is one tridiagonal solve
and the history; equal steps are factorised once.  At :math:`\alpha = 1` it is BDF2, with variable
steps, started by backward Euler, which also takes the steps that grow too fast.

Not here: the stepping loop (:mod:`fracsde.schemes.marching`), the sum itself
(:mod:`fracsde.schemes.history`).

Reference: [Gao2014]_, on equal steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fracsde.schemes.piecewise import PiecewiseScheme

__all__ = ["L12"]


@dataclass(frozen=True, kw_only=True)
class L12(PiecewiseScheme):
    """Piecewise-quadratic collocation of the Caputo derivative, on any mesh.

    Parameters
    ----------
    history : History
        How the memory sum is evaluated.

    References
    ----------
    [Gao2014]_

    Examples
    --------
    At order one it is the second backward difference:

    >>> import numpy as np
    >>> L12().weights(np.array([0.0, 1.0, 2.0, 3.0]), alpha=1.0)
    array([ 0. , -0.5,  1.5])
    """

    citation: ClassVar[tuple[str, ...]] = ("Gao2014",)
    positive: ClassVar[bool] = False
    lean: ClassVar[int] = -1

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
        return min(grading if final else grading * alpha, 3.0 - alpha)
