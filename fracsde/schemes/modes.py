r"""Propagation by eigenvectors: the dense road, and the yardstick of the others.

A generator with a symmetric form acts on masses as :math:`L = -S H S^{-1}` with symmetric
:math:`H = Q \Lambda Q^T \ge 0`, and

.. math::
    m(t) = S\, Q\, E_\alpha\bigl(-\Lambda\, \tau^{1-\alpha} t^\alpha\bigr)\, Q^T S^{-1} m(0) .

What remains is rounding, which the scaling by :math:`S = e^{-\Phi/2}` magnifies for masses that
start where the equilibrium is small: :func:`Modes.rounding` bounds it.  Where nothing is lost the
equilibrium is known and is separated first, so that mass is kept to rounding.

Cost is one symmetric eigenproblem (tridiagonal for a row of cells) and ``2 n**2`` flops per time;
memory is ``n**2`` numbers.  ``tests/schemes/test_propagator.py`` measures it.

Not here: roads without eigenvectors (:mod:`fracsde.schemes.forms`).

Reference: [Metzler1999]_ for the relaxation of modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh, eigh_tridiagonal

from fracsde.errors import UnsupportedError
from fracsde.operators.chain import CellChain
from fracsde.special.mittag_leffler import mittag_leffler

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["Modes", "modes_of"]

_EPS = float(np.finfo(np.float64).eps)
_LARGEST = 8192  # unknowns: eigenvectors then take half a gigabyte


@dataclass(frozen=True, kw_only=True, eq=False)
class Modes:
    """Eigenvectors of a symmetrised generator.

    Parameters
    ----------
    rates : (n,) float64 [1/t]
        Eigenvalues of ``H``, not negative.
    vectors : (n, n) float64 [1]
        ``Q``, one eigenvector per column.
    log_scale : (n,) float64 [1]
        Logarithm of the diagonal of ``S``.
    rest : (n,) float64 [1] or None
        The known null vector, where mass is kept.
    """

    rates: FloatArray
    vectors: FloatArray
    log_scale: FloatArray
    rest: FloatArray | None

    def propagate(
        self, masses: FloatArray, times: FloatArray, *, alpha: float, timescale: float = 1.0
    ) -> FloatArray:
        """Return the masses at later times.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        times : (t,) float64 [t]
            When they are wanted.
        alpha : float [1]
            Order of the derivative.
        timescale : float [t]
            ``tau``.

        Returns
        -------
        (t, n) ndarray [1]
        """
        start = self._scaled(masses)
        held = np.zeros_like(start)
        clock = timescale ** (1.0 - alpha) * times**alpha
        decay = mittag_leffler(-np.multiply.outer(clock, self.rates), alpha)
        with np.errstate(invalid="ignore"):  # where scaling overflowed, `rounding` is infinite
            if self.rest is not None:
                held = self.rest * (self.rest @ start)
            moving = (decay * (self.vectors.T @ (start - held))) @ self.vectors.T
            if self.rest is not None:
                moving -= np.multiply.outer(moving @ self.rest, self.rest)
            states = (moving + held) * np.exp(self.log_scale)
        states[times == 0.0] = masses
        return np.asarray(states)

    def _scaled(self, masses: FloatArray) -> FloatArray:
        # Masses divided by S, signs kept; infinite where that overflows.
        with np.errstate(over="ignore", divide="ignore"):
            size = np.exp(np.log(np.abs(masses)) - self.log_scale)
        return np.asarray(np.copysign(size, masses))

    def rounding(self, masses: FloatArray, widths: FloatArray, clock: float, alpha: float) -> float:
        r"""Bound the rounding error of a propagated density.

        Rounding of relative size ``u``, the unit round-off, in scaled states returns multiplied by
        ``S``.  It enters through the sums, about ``10 + n`` times, and through eigenvalues that are
        right to ``u`` times the largest, :math:`\Delta`: a mode then errs by
        :math:`\Delta \min(\theta / \Gamma(1 + \alpha), 1 / \lambda_1)` with the clock
        :math:`\theta = \tau^{1-\alpha} t^\alpha` and the slowest moving rate :math:`\lambda_1`.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        widths : (n,) float64 [x]
            Of the cells.
        clock : float [t]
            Largest value of the clock.
        alpha : float [1]
            Order of the derivative.

        Returns
        -------
        float [1/x]
        """
        slowest = float(self.rates[0 if self.rest is None else 1])
        reach = clock / gamma(1.0 + alpha)
        if slowest > 0.0:
            reach = min(reach, 1.0 / slowest)
        with np.errstate(over="ignore"):  # then the bound is infinite
            scaled = float(np.linalg.norm(self._scaled(masses)))
        back = float((np.exp(self.log_scale) / widths).max())
        return 0.5 * _EPS * (10.0 + len(masses) + float(self.rates[-1]) * reach) * scaled * back


def modes_of(generator: Any) -> Modes:
    """Return the eigenvectors of a generator that has a symmetric form.

    Parameters
    ----------
    generator : CellChain, or a generator with ``symmetric_matrix``
        The generator.

    Returns
    -------
    Modes

    Raises
    ------
    UnsupportedError
        If it has none, or is too large for a dense eigenproblem.
    """
    n = len(generator.widths)
    if n > _LARGEST:
        msg = f"eigenvectors serve up to {_LARGEST} unknowns, got {n}; use fewer"
        raise UnsupportedError(msg)
    if isinstance(generator, CellChain) and not generator.periodic:
        diagonal, bond, log_scale = generator.symmetrised()
        values, vectors = eigh_tridiagonal(diagonal, bond[:-1])
    else:
        H, log_scale = _dense(generator)
        # A spectral operator knows its null vector; the driver is ten times the default's speed.
        own = getattr(generator, "eigen", None)
        values, vectors = own() if callable(own) else eigh(H, driver="evd")
    rest = None
    if generator.conserves_mass:
        # H annihilates S itself: S_i^2 are the equilibrium masses.
        rest = np.exp(log_scale)
        rest /= np.linalg.norm(rest)
    return Modes(rates=np.maximum(values, 0.0), vectors=vectors, log_scale=log_scale, rest=rest)


def _dense(generator: Any) -> tuple[FloatArray, FloatArray]:
    if isinstance(generator, CellChain):
        diagonal, bond, log_scale = generator.symmetrised()
        H = np.diag(diagonal) + np.diag(bond[:-1], 1) + np.diag(bond[:-1], -1)
        H[0, -1] += bond[-1]
        H[-1, 0] += bond[-1]
        return H, log_scale
    if not hasattr(generator, "symmetric_matrix"):
        msg = (
            f"a {type(generator).__name__} has no symmetric form to propagate with; march with L1 "
            "instead"
        )
        raise UnsupportedError(msg)
    return generator.symmetric_matrix()  # type: ignore[no-any-return]
