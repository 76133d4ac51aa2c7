r"""Moments and cumulants of the stationary law of one weight, to any order, without a limit.

**Noise that does not depend on the state** enters a linear filter.  With the response
:math:`\psi_j` of the weight to a unit kick ``j`` steps ago (:math:`\psi_j = \phi^j` without
momentum, :math:`\phi = 1 - \eta(h + \lambda)`) and cumulants :math:`\kappa_n` of one example's
gradient,

.. math::
    \kappa_n(w) = \frac{(-\eta)^n\,\kappa_n}{B^{n-1}} \sum_{j\ge0} \psi_j^n
    = \frac{(-\eta)^n\,\kappa_n}{B^{n-1}\,(1 - \phi^n)} \quad (\mu = 0) .

**Noise of quadratic losses** depends on the state.  With the mean curvature :math:`c_B` and
gradient :math:`g_B` of a batch,

.. math::
    v' = \mu v - \eta\,(c_B w + g_B), \qquad w' = w + v',

so moments of degree ``n`` of the state (w, v) obey linear equations in those of degree up to
``n``: :math:`E w^n\,(1 - E M^n) = \sum_{j<n} \binom nj\, E[M^j q^{n-j}]\, E w^j` without momentum.
They are finite when the spectral radius of the homogeneous part, of every even degree up to
``n``, is below one.  Moments of a batch's mean follow from those of one example: drawn with
replacement its generating function is the one example's to the power ``B``, without it is a
coefficient of the product over examples, both as truncated series.

Everything is computed about the minimum of the mean loss, in units of the standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array, integer
from fracsde.errors import ComputationError, InputError, ShapeError, UnstableError, UnsupportedError
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["StationaryCumulants", "stationary_cumulants"]
