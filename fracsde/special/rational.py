r"""The relaxation function as a rational function: a few shifted solves for any time.

.. math::
    E_\alpha(-x) = c_0 + \operatorname{Re} \sum_{j=1}^{m} \frac{c_j}{x - q_j} + e(x) ,
    \qquad |e(x)| \le \text{error} \quad \text{for all } 0 \le x \le \infty ,

so that for an operator ``L`` whose spectrum is real and not positive

.. math::
    E_\alpha(L t^\alpha)\, p = c_0\, p
    + \operatorname{Re} \sum_j \frac{c_j}{t^\alpha} \Bigl(-L - \frac{q_j}{t^\alpha}\Bigr)^{-1} p .

One table per order serves every time and every such operator.  Among rational functions of a
degree ``n`` there is one of smallest error, and it equioscillates; the Caratheodory-Fejer
construction finds it to all but a vanishing part.  The map
:math:`y = (9 - x) / (9 + x)` takes the half-line to ``[-1, 1]``, where :math:`E_\alpha` has a
rapidly converging Chebyshev series.  An eigenvalue :math:`\sigma_n` of the Hankel matrix of its
coefficients **is** the smallest error, known before any fit, and the eigenvector's roots outside
the unit circle are the poles.  The residues are then fitted on a grid, with weights that level
the error.  No pole can lie in the spectrum, and real ones are negative by construction.

Solves needed (a complex pair counts once, ``m = ceil(n / 2)``) and certified error:

=============  ========  ========  ========  ========  ========  ========
``alpha``      m = 2     m = 3     m = 4     m = 5     m = 6     m = 7
=============  ========  ========  ========  ========  ========  ========
0.4            2.9e-8    6.5e-12   4.5e-15
0.6            8.7e-7    1.1e-9    1.3e-12   5.4e-15
0.8            1.1e-5    4.6e-8    1.9e-10   7.9e-13   9.8e-15
1              8.8e-5    1.1e-6    1.2e-8    1.4e-10   1.6e-12   2.8e-14
=============  ========  ========  ========  ========  ========  ========

At ``alpha = 1`` this is the problem of Cody, Meinardus and Varga: each degree gains 9.28903.
``tests/special/test_rational.py`` measures the table.

Not here: many times at once and complex spectra (:mod:`fracsde.special.contours`), sums of
exponentials (:mod:`fracsde.special.exponentials`); both are re-exported for convenience.

References: [TrefethenWeidemanSchmelzer2006]_ for the construction, [GoncharRakhmanov1989]_ for
the rate at ``alpha = 1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import dct
from scipy.linalg import eigh, hankel

from fracsde._check import finite_array, real
from fracsde.errors import OutOfRangeError
from fracsde.special.contours import (
    Contour,
    contour,
    contour_windows,
    oracle_contour,
    relaxation_oracle,
)
from fracsde.special.exponentials import (
    ExponentialSum,
    power_exponentials,
    relaxation_exponentials,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from fracsde._typing import ArrayLike, FloatArray

__all__ = [
    "Contour",
    "ExponentialSum",
    "RationalRelaxation",
    "contour",
    "contour_windows",
    "oracle_contour",
    "power_exponentials",
    "relaxation_exponentials",
    "relaxation_poles",
]

_MIDDLE = 9.0  # the map of the half-line puts this value at y = 0
_SAMPLES = 256  # of the Chebyshev series; 60 coefficients are above rounding at worst
_HANKEL = 64
_GRID = 1024  # of the certificate: 32 points to each of the 32 ripples there can be
_ROUNDS = 20  # of levelling
_SAFETY = 1.01  # between two points of the grid the error is at most this much larger
_REFERENCE = 2e-15  # what the oracle itself may be wrong by
_FLOOR = 5e-16  # eigenvalues below it are rounding
_HOPELESS = 1e-13  # tolerances below it try every degree from here on


@dataclass(frozen=True, kw_only=True, eq=False)
class RationalRelaxation:
    r"""A rational function that is :math:`E_\alpha(-x)` for all ``x >= 0``.

    Parameters
    ----------
    alpha : float [1]
        Order of the relaxation.
    constant : float [1]
        Value at infinity, at most ``error`` in size.
    residues : (m,) complex128 [1]
        Of the terms ``residues / (x - poles)``, whose real part is summed; real where the pole
        is real, doubled where it stands for a conjugate pair.
    poles : (m,) complex128 [1]
        Real ones, negative, first; of conjugate pairs the one in the upper half plane.
    error : float [1]
        Certified bound of the largest absolute error over ``0 <= x <= inf``.
    """

    alpha: float
    constant: float
    residues: npt.NDArray[np.complex128]
    poles: npt.NDArray[np.complex128]
    error: float

    @property
    def solves(self) -> int:
        """Number of shifted systems that one time needs."""
        return len(self.poles)

    def __call__(self, x: ArrayLike) -> FloatArray:
        """Evaluate the rational function.

        Parameters
        ----------
        x : array_like [1]
            Not negative, any shape.

        Returns
        -------
        ndarray of float64
            Of the shape of ``x``.

        Raises
        ------
        OutOfRangeError
            If an argument is negative.
        """
        x = finite_array("x", x)
        if np.any(x < 0):
            msg = (
                f"`x` must not be negative, got {float(x.min()):g}; the rational function "
                "is accurate on the half-line only"
            )
            raise OutOfRangeError(msg)
        values = np.full(x.shape, self.constant)
        for residue, pole in zip(self.residues, self.poles, strict=True):
            values += (residue / (x - pole)).real
        return values[()]


def relaxation_poles(alpha: float, *, rtol: float = 1e-12) -> RationalRelaxation:
    r"""Return the rational form of :math:`E_\alpha(-x)` with the fewest poles for a tolerance.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha <= 1``.
    rtol : float [1]
        Largest error, relative to ``E(0) = 1``; about 1e-14 can be had.

    Returns
    -------
    RationalRelaxation
        With ``error <= rtol``; built once for each pair of arguments.

    Raises
    ------
    OutOfRangeError
        If ``rtol`` is below what rounding allows; the message says what can be had.

    References
    ----------
    [TrefethenWeidemanSchmelzer2006]_ for the construction.

    Examples
    --------
    >>> form = relaxation_poles(0.6, rtol=1e-11)
    >>> form.solves
    4
    >>> from scipy.special import erfcx
    >>> bool(abs(relaxation_poles(0.5)(3.0) - erfcx(3.0)) < 1e-12)
    True
    """
    alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high")
    rtol = real("rtol", rtol, low=0.0, high=1.0, remedy="it is relative to E(0) = 1")
    form = _fewest(alpha, rtol)
    if form.error > rtol:
        msg = (
            f"`rtol` = {rtol:g} cannot be had from poles in double precision at alpha = "
            f"{alpha:g}; ask for {1.1 * form.error:.1e} or more"
        )
        raise OutOfRangeError(msg)
    return form


@lru_cache(maxsize=256)
def _fewest(alpha: float, rtol: float) -> RationalRelaxation:
    # The first form that keeps the tolerance, or the best there is.
    errors, vectors = _hankel_pairs(alpha)
    last = int(np.argmax(errors[1:] <= _FLOOR)) + 1
    first = int(np.argmax(errors[1:] <= max(rtol, _HOPELESS))) + 1
    best = _form(alpha, vectors[:, first])
    for n in range(first + 1, last + 1):
        if best.error <= rtol:
            break
        best = min(best, _form(alpha, vectors[:, n]), key=lambda form: form.error)
    return best


@lru_cache(maxsize=16)
def _hankel_pairs(alpha: float) -> tuple[FloatArray, FloatArray]:
    # Eigenvalues (largest first, in size) and vectors of the Hankel matrix of the series.
    angle = np.pi * (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    series = dct(relaxation_oracle(_half_line(angle), alpha), type=2) / _SAMPLES
    eigenvalues, vectors = eigh(hankel(series[1 : _HANKEL + 1]))
    order = np.argsort(-np.abs(eigenvalues))
    return np.abs(eigenvalues[order]), vectors[:, order]


def _half_line(angle: FloatArray) -> FloatArray:
    # The point of the half-line at ``y = cos(angle)``.
    return np.asarray(_MIDDLE * np.tan(0.5 * angle) ** 2, dtype=np.float64)


def _form(alpha: float, vector: FloatArray) -> RationalRelaxation:
    # Poles from the eigenvector, residues by levelled least squares, then the certificate.
    outer = np.roots(vector)
    outer = outer[np.abs(outer) > 1.0]
    poles = -_MIDDLE * ((outer - 1.0) / (outer + 1.0)) ** 2
    lone = np.abs(poles.imag) <= 1e-9 * np.abs(poles)
    poles = np.concatenate(
        [
            np.sort(poles[lone].real) + 0j,
            np.sort_complex(poles[~lone & (poles.imag > 0)]),
        ]
    )
    constant, residues = _levelled(alpha, poles)
    x = _half_line(np.pi * np.arange(_GRID) / _GRID)
    ours = constant + (residues / (x[:, None] - poles)).real.sum(axis=1)
    worst = max(float(np.abs(ours - relaxation_oracle(x, alpha)).max()), abs(constant))
    poles.flags.writeable = residues.flags.writeable = False
    return RationalRelaxation(
        alpha=alpha,
        constant=constant,
        residues=residues,
        poles=poles,
        error=_SAFETY * worst + _REFERENCE,
    )


def _levelled(
    alpha: float, poles: npt.NDArray[np.complex128]
) -> tuple[float, npt.NDArray[np.complex128]]:
    # Least squares with weights multiplied by the error, round after round (Lawson): the
    # largest errors come down until all ripples are equally high.
    angle = np.pi * (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    x = _half_line(angle)
    target = relaxation_oracle(x, alpha)
    terms = np.abs(poles) / (x[:, None] - poles)
    pairs = poles.imag > 0
    columns = np.hstack([np.ones((len(x), 1)), terms.real, -terms.imag[:, pairs]])
    weights = np.full(len(x), 1.0 / len(x))
    lowest, best = np.inf, np.zeros(columns.shape[1])
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)[:, None]
        scale = np.linalg.norm(root * columns, axis=0)
        found = np.linalg.lstsq(root * columns / scale, root[:, 0] * target, rcond=None)[0] / scale
        error = np.abs(columns @ found - target)
        if error.max() < lowest:
            lowest, best = float(error.max()), found
        weights = weights * np.maximum(error, 1e-3 * error.max())
        weights /= weights.sum()
    residues = best[1 : 1 + len(poles)] + 0j
    residues[pairs] += 1j * best[1 + len(poles) :]
    return float(best[0]), residues * np.abs(poles)
