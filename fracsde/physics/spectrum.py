r"""The relaxation spectrum of an observable.

A weak perturbation of the equilibrium, :math:`p_0 = \pi (1 + \epsilon A)`, relaxes as

.. math::
    \langle A \rangle_t - \langle A \rangle
    = \epsilon \sum_k w_k\, E_\alpha(-\lambda_k \tau^{1 - \alpha} t^\alpha), \qquad
    w_k = \Bigl(\int u_k A\, \pi\, dx\Bigr)^2, \qquad \sum_k w_k = \operatorname{Var} A .

On an ordinary clock this is also the autocovariance of ``A`` in equilibrium (regression theorem).
On a fractional one it is the response after a preparation at time 0: such a process ages, and has
no equilibrium autocovariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import UnsupportedError
from fracsde.physics._chains import discretised, log_masses, parts
from fracsde.physics.modes import eigenmodes
from fracsde.problems.sampling import sample
from fracsde.special import mittag_leffler

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.operators.base import Space
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.problems.fractional import FractionalFokkerPlanck

__all__ = ["RelaxationSpectrum", "relaxation_spectrum"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RelaxationSpectrum:
    """Rates and weights.

    Parameters
    ----------
    rates : (k,) float64 [1/t]
        Ascending, without the zero of the equilibrium.
    weights : (k,) float64 [A^2]
        Not negative.
    variance : float [A^2]
        Of the observable in equilibrium: what all weights together come to.
    alpha, timescale : float
        The clock.
    """

    rates: FloatArray
    weights: FloatArray
    variance: float
    alpha: float
    timescale: float

    @property
    def missing(self) -> float:
        """Share of the variance in modes that were not asked for."""
        return float(1.0 - self.weights.sum() / self.variance)

    def at(self, times: ArrayLike) -> FloatArray:
        """Return the response at times, from these modes.

        Parameters
        ----------
        times : (t,) array_like [t]
            Not negative.

        Returns
        -------
        (t,) ndarray [A^2]
        """
        t = np.asarray(times, dtype=np.float64).reshape(-1)
        clock = self.timescale ** (1.0 - self.alpha) * t**self.alpha
        modes = mittag_leffler(-np.multiply.outer(clock, self.rates), self.alpha)
        return np.asarray(modes @ self.weights)


def relaxation_spectrum(
    problem: FokkerPlanck | FractionalFokkerPlanck,
    observable: Callable[..., Any],
    *,
    count: int = 24,
    space: Space | None = None,
) -> RelaxationSpectrum:
    """Return the spectrum with which an observable relaxes.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        In detailed balance, without losses.
    observable : callable
        ``A(*x)``.
    count : int
        Modes besides the equilibrium.
    space : FiniteVolume, optional
        As in :func:`~fracsde.physics.modes.eigenmodes`.

    Returns
    -------
    RelaxationSpectrum

    Raises
    ------
    UnsupportedError
        If the equilibrium carries a current, or mass is lost.

    Examples
    --------
    The square of an Ornstein-Uhlenbeck process relaxes with its second mode alone:

    >>> from fracsde import FokkerPlanck, Gaussian
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian())
    >>> found = relaxation_spectrum(problem, lambda x: x**2, count=4)
    >>> np.round(found.weights, 3)
    array([0., 2., 0., 0.])
    """
    base, _, _ = parts(problem)
    generator = discretised(base, space)
    if not generator.conserves_mass or log_masses(generator) is None:
        msg = (
            "`relaxation_spectrum` needs an equilibrium without current, this problem loses mass "
            "or is driven round; look at eigenmodes"
        )
        raise UnsupportedError(msg)
    modes = eigenmodes(problem, count + 1, space=space)
    coordinates = np.atleast_2d(modes.points.T)
    values = sample("observable", observable, *coordinates)
    rest = modes.densities[0] * modes.widths / float(modes.densities[0] @ modes.widths)
    values = values - rest @ values
    shares = (modes.densities[1:] * modes.widths) @ values
    return RelaxationSpectrum(
        rates=modes.rates[1:],
        weights=np.asarray(shares**2),
        variance=float(rest @ values**2),
        alpha=modes.alpha,
        timescale=modes.timescale,
    )
