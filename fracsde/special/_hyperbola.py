r"""Hyperbolas that pass every pole of a Mittag-Leffler resolvent on the right.

With ``z`` an eigenvalue of :math:`t^\alpha L` the integrand of

.. math::
    E_{\alpha,\beta}(z) = \frac{1}{2\pi i} \int e^s \frac{s^{\alpha-\beta}}{s^\alpha - z}\, ds
    \approx \operatorname{Re} \sum_k \frac{a_k}{b_k - z}, \qquad b_k = s_k^\alpha ,

is singular on the negative axis and at the poles :math:`s = z^{1/\alpha}` of the principal sheet.
On :math:`s = c + \mu (1 + \sin(iu - \phi))` the sum has three errors, of which the first two are
balanced at ``tolerance`` and the third is kept below it: discretisation,
:math:`e^{-2\pi d/h}` and :math:`e^{\mu - 2\pi\phi/h}` with :math:`d = \pi/2 - \phi - \delta` for
poles in the sector :math:`|\arg(c - s)| \le \delta`; truncation,
:math:`e^{\mu(1 - \sin\phi\cosh nh)}`; and rounding, :math:`\epsilon\, e^{\mu(1 - \sin\phi)}`.
All are relative to the largest growth :math:`e^{\operatorname{Re} s}`, so that ``c`` may follow
growing modes to the right.

Not here: the contours for spectra on the negative axis, which are certified and shared by many
times (:mod:`fracsde.special.rational`).

Reference: [WeidemanTrefethen2007]_ for the balance of errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = ["LARGEST_EXPONENT", "Hyperbola", "exponents", "hyperbola", "poles"]

_EPS = float(np.finfo(np.float64).eps)
# exp of this is the largest float; e^s / alpha with alpha >= 0.01 stays finite 5 below it.
LARGEST_EXPONENT = 709.0
_FORGOTTEN = 45.0  # residues that much below the largest are below rounding
_OPENINGS = np.linspace(0.02, 1.5, 149)
_LIFTS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True, kw_only=True)
class Hyperbola:
    """A contour for one set of poles, and its trapezoidal rule.

    Parameters
    ----------
    right : float [1]
        ``c``, where the sector of the poles has its apex.
    scale, opening, step : float [1]
        The numbers mu, phi and h.
    count : int
        Nodes in the upper half plane.
    offset : float
        Place of the first node in steps: 0.5, or 0 for the rule that interlaces it.
    """

    right: float
    scale: float
    opening: float
    step: float
    count: int
    offset: float = 0.5

    def interlaced(self) -> Hyperbola:
        """Return the rule whose nodes lie half way between: its leading error is opposite.

        Returns
        -------
        Hyperbola
        """
        return replace(self, offset=0.0, count=self.count + 1)

    def terms(self, alpha: float, beta: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return ``a`` (without the factor ``exp(right)``) and ``b`` of the upper half plane.

        Parameters
        ----------
        alpha, beta : float [1]
            Parameters of the function.

        Returns
        -------
        (count,) complex128, (count,) complex128
        """
        u = self.step * (np.arange(self.count) + self.offset)
        angle = 1j * u - self.opening
        arm = self.scale * (1.0 + np.sin(angle))
        log_s = np.log(self.right + arm)
        a = self.step / np.pi * self.scale * np.cos(angle) * np.exp(arm + (alpha - beta) * log_s)
        if self.offset == 0.0:
            a[0] *= 0.5  # the node on the real axis belongs to both halves
        return a, np.exp(alpha * log_s)


def poles(z: NDArray[Any], alpha: float) -> NDArray[Any]:
    r"""Return the solutions of :math:`s^\alpha = z` on the principal sheet, all in one vector.

    Parameters
    ----------
    z : (n,) complex128 [1]
        Eigenvalues times :math:`t^\alpha`.
    alpha : float [1]
        Order, at most 2.

    Returns
    -------
    (m,) complex128 [1]
        Those too large for a float are shortened in their direction.
    """
    z = np.asarray(z, dtype=np.complex128)
    s, on_sheet = _sheets(z[z != 0.0], alpha)
    return np.asarray(s[on_sheet], dtype=np.complex128)


def exponents(z: NDArray[Any], alpha: float) -> FloatArray:
    r"""Return the real part of the rightmost pole of each eigenvalue, 0 where it does not grow.

    Parameters
    ----------
    z : (n,) complex128 [1]
        Eigenvalues times :math:`t^\alpha`.
    alpha : float [1]
        Order, at most 2.

    Returns
    -------
    (n,) float64 [1]
        The modes grow like the exponentials of these.
    """
    z = np.asarray(z, dtype=np.complex128)
    s, on_sheet = _sheets(np.where(z == 0.0, -1.0, z), alpha)
    grows = np.where(on_sheet, s.real, 0.0).max(axis=1, initial=0.0)
    return np.asarray(np.where(z == 0.0, 0.0, grows), dtype=np.float64)


def _sheets(z: NDArray[Any], alpha: float) -> tuple[NDArray[Any], NDArray[Any]]:
    # The three candidates for each z, and which lie on the principal sheet.
    angle = np.angle(z)[:, None] + 2.0 * np.pi * np.array([-1.0, 0.0, 1.0])
    size = np.exp(np.minimum(np.log(np.abs(z)) / alpha, 700.0))[:, None]
    return size * np.exp(1j * angle / alpha), np.abs(angle) <= alpha * np.pi


def hyperbola(
    singular: NDArray[Any], *, tolerance: float, most: int = 200, sector: float = 0.0
) -> Hyperbola | None:
    """Return the contour with the fewest nodes for given poles, or ``None`` if there is none.

    Parameters
    ----------
    singular : (m,) complex128 [1]
        Poles, as :func:`poles` gives them; the negative axis is always among the singularities.
    tolerance : float [1]
        Error relative to the largest growth, at least a few roundings.
    most : int
        Nodes beyond which a contour is no longer worth having.
    sector : float [rad]
        Half angle that is left free even if no pole is there: matrices far from normal need it.

    Returns
    -------
    Hyperbola or None
    """
    top = max(0.0, float(singular.real.max(initial=0.0)))
    if top > LARGEST_EXPONENT - _LIFTS[-1]:
        return None
    near = singular[singular.real > top - _FORGOTTEN]
    best: Hyperbola | None = None
    for lift in _LIFTS:
        right = top + lift
        gap = right - near
        gap = gap[gap != 0.0]
        filled = float(np.abs(np.angle(gap)).max(initial=sector))
        found = _fewest(right, lift, filled, tolerance)
        if found is not None and found.count < (most + 1 if best is None else best.count):
            best = found
        if filled == sector:
            break  # nothing to be gained from further right
    return best


def _fewest(right: float, lift: float, sector: float, tolerance: float) -> Hyperbola | None:
    # Scan the opening for the fewest nodes at a given apex.
    digits = -np.log(tolerance)
    phi = _OPENINGS
    d = 0.5 * np.pi - phi - sector
    with np.errstate(divide="ignore", invalid="ignore"):
        mu = digits * (phi / d - 1.0) - lift
        fits = (d > 0.01) & (mu > 0.1)
        fits &= lift + mu * (1.0 - np.sin(phi)) <= np.log(tolerance / _EPS)
        if not np.any(fits):
            return None
        step = 2.0 * np.pi * d / digits
        count = _reach(mu, phi, digits + lift) / step
    count[~fits] = np.inf
    k = int(np.argmin(count))
    return Hyperbola(
        right=right,
        scale=float(mu[k]),
        opening=float(phi[k]),
        step=float(step[k]),
        count=int(np.ceil(count[k])),
    )


def _reach(mu: FloatArray, phi: FloatArray, digits: float) -> FloatArray:
    # Parameter at which the integrand has fallen by ``digits``.
    return np.asarray(np.arccosh((1.0 + digits / mu) / np.sin(phi)), dtype=np.float64)
