r"""Exact propagation in time for operators that do not depend on time.

With detailed balance the generator on cell masses is :math:`L = -S H S^{-1}` with symmetric
:math:`H = Q \Lambda Q^T`, and

.. math::
    m(t) = S\, Q\, E_\alpha\bigl(-\Lambda\, \tau^{1-\alpha} t^\alpha\bigr)\, Q^T S^{-1} m(0) .

There is no time step and no error of one.  What remains is rounding, which the scaling by
:math:`S = e^{-\Phi/2}` magnifies for masses that start where the equilibrium is small:
:func:`Modes.rounding` bounds it, and that bound is the solution's ``error_estimate``.  Densities
may be negative by as much; a scheme that keeps positivity is :class:`~fracsde.schemes.l1.L1`.

Where nothing is lost the equilibrium is known and is separated first, so that mass is kept to
rounding.  Cost is one symmetric tridiagonal (in a ring: dense) eigenproblem and ``2 n**2`` flops
per output time; memory is ``n**2`` numbers.  ``tests/schemes/test_propagator.py`` measures it.

Not here: contours and rational forms, which need no eigenvectors; sources.

Reference: [Metzler1999]_ for the relaxation of modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import eigh, eigh_tridiagonal

from fracsde.errors import UnsupportedError
from fracsde.special.mittag_leffler import mittag_leffler

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.chain import CellChain

__all__ = ["Modes", "Propagator"]

_EPS = float(np.finfo(np.float64).eps)
_LARGEST = 8192  # cells: eigenvectors then take half a gigabyte


@dataclass(frozen=True, kw_only=True)
class Propagator:
    """Mittag-Leffler function of the generator, by its eigenvectors.

    References
    ----------
    [Metzler1999]_

    Examples
    --------
    >>> Propagator()
    Propagator()
    """

    citation: ClassVar[tuple[str, ...]] = ("Metzler1999",)
    positive: ClassVar[bool] = False
    """Densities may be negative by rounding."""

    def refusal(self, chain: CellChain, *, source: bool) -> str:
        """Say why a problem cannot be propagated, in a clause; empty if it can.

        Parameters
        ----------
        chain : CellChain
            The generator.
        source : bool
            Whether mass enters.

        Returns
        -------
        str
        """
        if source:
            return "it has a source"
        if not chain.detailed_balance:
            return "its equilibrium carries a current, so the generator has no symmetric form"
        if len(chain.right) > _LARGEST:
            return f"its {len(chain.right)} cells are more than {_LARGEST}"
        return ""

    def modes(self, chain: CellChain, *, source: bool = False) -> Modes:
        """Return the eigenvectors of a generator.

        Parameters
        ----------
        chain : CellChain
            The generator.
        source : bool
            Whether mass enters.

        Returns
        -------
        Modes

        Raises
        ------
        UnsupportedError
            If the problem cannot be propagated.
        """
        why = self.refusal(chain, source=source)
        if why:
            msg = f"`Propagator` cannot serve this problem, because {why}; march with L1 instead"
            raise UnsupportedError(msg)
        diagonal, bond, log_scale = chain.symmetrised()
        if chain.periodic:
            H = np.diag(diagonal) + np.diag(bond[:-1], 1) + np.diag(bond[:-1], -1)
            H[0, -1] += bond[-1]
            H[-1, 0] += bond[-1]
            values, vectors = eigh(H)
        else:
            values, vectors = eigh_tridiagonal(diagonal, bond[:-1])
        rest = None
        if chain.conserves_mass:
            # H annihilates S itself: S_i^2 are the equilibrium masses.
            rest = np.exp(log_scale)
            rest /= np.linalg.norm(rest)
        return Modes(
            rates=np.maximum(values, 0.0),
            vectors=vectors,
            log_scale=log_scale,
            rest=rest,
            bond=bond if chain.periodic else np.append(bond[:-1], 0.0),
            diagonal=diagonal,
        )


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
    bond, diagonal : (n,) float64 [1/t]
        ``H`` itself, for the residual.
    """

    rates: FloatArray
    vectors: FloatArray
    log_scale: FloatArray
    rest: FloatArray | None
    bond: FloatArray
    diagonal: FloatArray

    def propagate(
        self, masses: FloatArray, times: FloatArray, *, alpha: float, timescale: float
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
        # Masses divided by S; infinite where that overflows, zero where there is no mass.
        with np.errstate(over="ignore", divide="ignore"):
            return np.asarray(np.exp(np.log(masses) - self.log_scale))

    def rounding(self, masses: FloatArray, widths: FloatArray, clock: float, alpha: float) -> float:
        r"""Bound the rounding error of a propagated density.

        Rounding of relative size ``eps`` in scaled states returns multiplied by ``S``.  It enters
        through the sums, about ten times, and through eigenvalues that are right to ``eps``
        times the largest, :math:`\Delta`: a mode then errs by
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
        return _EPS * (10.0 + float(self.rates[-1]) * reach) * scaled * back

    def residual(self) -> float:
        """Return the largest entry of ``H Q - Q Lambda`` over the largest eigenvalue.

        Returns
        -------
        float
        """
        Q = self.vectors
        HQ = self.diagonal[:, None] * Q
        HQ += self.bond[:, None] * np.roll(Q, -1, axis=0)
        HQ += np.roll(self.bond[:, None] * Q, 1, axis=0)
        return float(np.abs(HQ - Q * self.rates).max() / self.rates[-1])
