r"""Whether cells are narrow enough for the drift, before the first step and of the result.

Fluxes across a tilt :math:`\delta` diffuse by a share :math:`a = \tfrac\delta2
\coth\tfrac\delta2 - 1` too much (:func:`fracsde.operators.bernoulli.artificial_diffusion`).  Jumps
one way and the other, a distance :math:`h` apart, spread a walker by

.. math::
    h^2 (\mathrm{right} + \mathrm{left}) = D\, [B(\delta) + B(-\delta)]
        = 2 D\, \tfrac\delta2 \coth\tfrac\delta2 = 2 D\, (1 + a)

per time, so that over a run the variance that cells add is to the one the diffusion adds as the
mean of ``a`` over all times and, at each, over the density; for a force that is the same everywhere
exactly, however it depends on time.  Harm is done only where there is density, and what happened
on the way is forgotten at rest.  Grids are therefore refused only where ``a`` exceeds one half in
the mean over the density at all of three stages, early, about the last time and late.

These densities cost one factorisation each and no step.  Where the operator does not depend on
time, the Laplace transform :math:`\sigma \hat p(\sigma) = R\, p_0` of the solution with
:math:`R = (1 - \sigma^{-\alpha} \tau^{1 - \alpha} L)^{-1}`, and its derivative, give

.. math::
    \int_0^\infty \sigma^2 t\, e^{-\sigma t}\, p(t)\, dt
        = -\sigma^2 \frac{d \hat p}{d\sigma} = (1 - \alpha)\, R\, p_0 + \alpha\, R^2 p_0 ,

the solution's exact mean over a random time of mean :math:`2 / \sigma`, for every operator: with
currents, absorbing walls and reactions.  Where it does depend on time there are two limits.  A
force that comes and goes fast acts by its mean: that of the operators, times weighted like
:math:`t^{\alpha - 1}`, the rate at which walkers that wait jump.  One that changes slowly is
followed: the late density of each time's own operator.  In both ``a`` is that of each time.  A grid
that serves one of the two, or one of the stages, is not refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import ComputationError
from fracsde.operators.chain import CellChain
from fracsde.operators.tensor import TensorCells
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fracsde._typing import FloatArray

__all__ = ["Fluxes", "fluxes_of", "judged", "refuse_smeared", "shares_of"]

_SMEARED, _SHARP = 0.5, 0.05  # artificial diffusion over the true one: too much, and good
_STAGES = (0.125, 1.0, 64.0)  # early, about the last time, late: mean times over the last one
_FINEST = 1e12  # times as many cells, beyond which nobody counts


@dataclass(frozen=True, kw_only=True, eq=False)
class Fluxes:
    """The cells of a problem at some of its times.

    Parameters
    ----------
    generators : tuple of CellChain or TensorCells
        In the order of time; one where it does not depend on time.
    shares : (k,) float64 [1]
        How much each counts; their sum is one.
    cells : tuple of int
        Along each axis, as the caller counts them.
    """

    generators: tuple[Any, ...]
    shares: FloatArray
    cells: tuple[int, ...]

    def smearing(self, masses: Sequence[FloatArray], finer: float = 1.0) -> FloatArray:
        """Return the mean artificial diffusion along each axis, relative to the true one.

        Parameters
        ----------
        masses : sequence of (n,) float64 [1]
            Where to look at each time.
        finer : float [1]
            On a grid of so many times as many cells along each axis.

        Returns
        -------
        (d,) ndarray [1]
        """
        each = zip(self.generators, masses, strict=True)
        return np.asarray(self.shares @ [g.smearing(m, finer) for g, m in each])

    def mean(self) -> Any:
        """Return the mean of the operators."""
        first = self.generators[0]
        if len(self.generators) == 1:
            return first
        loss = self._mean([g.loss for g in self.generators])
        if isinstance(first, CellChain):
            return replace(
                first,
                right=self._mean([g.right for g in self.generators]),
                left=self._mean([g.left for g in self.generators]),
                loss=loss,
                tilt=self._mean([g.tilt for g in self.generators]),
            )
        bonds = tuple(
            replace(
                bond,
                onward=self._mean([g.bonds[k].onward for g in self.generators]),
                back=self._mean([g.bonds[k].back for g in self.generators]),
                tilt=self._mean([g.bonds[k].tilt for g in self.generators]),
            )
            for k, bond in enumerate(first.bonds)
        )
        return replace(first, loss=loss, bonds=bonds)

    def _mean(self, arrays: list[FloatArray]) -> FloatArray:
        return np.tensordot(self.shares, np.array(arrays), axes=1)


def fluxes_of(
    generators: Sequence[Any], times: FloatArray, alpha: float, cells: Any = None
) -> Fluxes | None:
    """Return the cells of a problem at some times.

    Parameters
    ----------
    generators : sequence of Generator
        At those times, in their order.
    times : (k,) float64 [t]
        Positive, each standing for what is nearer to it than to others, the last for one moment.
    alpha : float [1]
        Order of the derivative.
    cells : tuple of int, optional
        Along each axis as the caller counts them; the generator's own by default.

    Returns
    -------
    Fluxes or None
        Nothing of other operators than cells, or of no time.
    """
    if not generators or not all(isinstance(g, CellChain | TensorCells) for g in generators):
        return None
    return Fluxes(
        generators=tuple(_bare(g) for g in generators),  # kept through the run
        shares=shares_of((times / times[-1]) ** alpha),  # integrals of t**(alpha - 1)
        cells=tuple(cells or generators[0].shape),
    )


def shares_of(moments: FloatArray) -> FloatArray:
    """Return what share of an interval from 0 is nearest to each of some moments.

    Parameters
    ----------
    moments : (k,) float64
        Increasing; the last is the end of the interval and has no share, unless it is alone.

    Returns
    -------
    (k,) ndarray [1]

    Examples
    --------
    >>> shares_of(np.array([1.0, 3.0, 4.0]))
    array([0.5, 0.5, 0. ])
    """
    if len(moments) == 1:
        return np.ones(1)
    inner = moments[:-1]
    ends = np.concatenate([[0.0], 0.5 * (inner[1:] + inner[:-1]), moments[-1:]])
    return np.append(np.diff(ends) / moments[-1], 0.0)


def judged(fluxes: Fluxes | None, masses: FloatArray) -> tuple[tuple[float, ...], str]:
    """Say what cells do to the density at the last time.

    Where the force depends on time it is judged by its value then and by all times, whichever
    smears less: the first may be a short pulse, the second of where the density has not been.

    Parameters
    ----------
    fluxes : Fluxes or None
        At some times, the last of them the density's own.
    masses : (n,) float64 [1]
        At the last time.

    Returns
    -------
    tuple of float [1]
        Artificial diffusion along each axis, relative to the true one; empty if it is not known.
    str
        What is wrong and how many cells would do; empty if they are good enough.
    """
    if fluxes is None:
        return (), ""
    views = [fluxes]
    if len(fluxes.generators) > 1:
        views.insert(0, replace(fluxes, generators=fluxes.generators[-1:], shares=np.ones(1)))
    found = [view.smearing([masses] * len(view.generators)) for view in views]
    smeared = np.min(found, axis=0)
    worst = views[int(np.argmin([f[int(np.argmax(smeared))] for f in found]))]
    complaint = _complaint(worst, [masses] * len(worst.generators), smeared)
    return tuple(smeared.tolist()), complaint


def refuse_smeared(
    fluxes: Fluxes | None,
    masses: FloatArray,
    *,
    last: float,
    alpha: float,
    timescale: float,
    lasting: bool = True,
) -> None:
    """Refuse cells that are too wide early, about the last time and late.

    Parameters
    ----------
    fluxes : Fluxes or None
        At some times.
    masses : (n,) float64 [1]
        At the start, with what enters later.
    last : float [t]
        The last wanted time.
    alpha, timescale : float
        Of the equation.
    lasting : bool
        Whether nothing enters, so that the state at rest is that of the operator.

    Raises
    ------
    ComputationError
        With the number of cells that would do.
    """
    if fluxes is None or last <= 0.0 or not masses.any():
        return
    still = [masses] * len(fluxes.generators)
    least = fluxes.smearing(still)
    resting = _rest(fluxes.generators[0]) if lasting and len(still) == 1 else None
    seen = least if resting is None else np.maximum(least, fluxes.smearing([resting]))
    # Most grids need no factorisation: they serve where the density starts and where it rests.
    if seen.max() <= _SMEARED:
        return
    least, told = np.full(len(least), np.inf), still
    for stage, where in _densities(fluxes, masses, last, alpha, timescale):
        least = np.minimum(least, fluxes.smearing(where))
        if not least.max() > _SMEARED:  # nor is what could not be computed a reason
            return
        told = where if stage == 1.0 else told
    msg = (
        "Refused before the first step, early, about the last time and late.  "
        f"{_complaint(fluxes, told, least)}"
    )
    raise ComputationError(Status.INACCURATE, msg)


def _densities(
    fluxes: Fluxes, masses: FloatArray, last: float, alpha: float, timescale: float
) -> Iterator[tuple[float, list[FloatArray]]]:
    # Where the density may be at each time: following the mean of the operators, and each alone.
    mean, count = fluxes.mean(), len(fluxes.generators)
    for stage in _STAGES:
        yield stage, [_about(mean, masses, stage * last, alpha, timescale)] * count
    if count > 1:
        late = _STAGES[-1] * last
        yield late, [_about(g, masses, late, alpha, timescale) for g in fluxes.generators]


def _about(
    generator: Any, masses: FloatArray, time: float, alpha: float, timescale: float
) -> FloatArray:
    # The mean over a random time of density sigma**2 t exp(-sigma t), sigma = 2 / time.
    shift = (2.0 / time) ** alpha * timescale ** (alpha - 1.0)
    generator = _bare(generator)
    once = shift * generator.solve_shifted(shift, masses / generator.widths)
    twice = shift * generator.solve_shifted(shift, once)
    return np.asarray(((1.0 - alpha) * once + alpha * twice) * generator.widths)


def _bare(generator: Any) -> Any:
    # The same cells, which hold no factorisation.
    return generator.bare() if isinstance(generator, TensorCells) else generator


def _rest(generator: Any) -> FloatArray | None:
    # The masses at rest, where there is such a state and it costs no factorisation.
    if not generator.conserves_mass:
        return None
    if isinstance(generator, TensorCells) and generator.log_weight is None:
        return None
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        rest = np.asarray(generator.stationary()).ravel() * generator.widths
    return rest if np.all(np.isfinite(rest)) else None


def _complaint(fluxes: Fluxes, masses: Sequence[FloatArray], smeared: FloatArray) -> str:
    # What is wrong along the worst axis and how many cells would do there, empty if nothing is.
    if smeared.max() <= _SMEARED:
        return ""
    axis = int(np.argmax(smeared))
    times = _finer(fluxes, masses, axis)
    along, there = (f" along axis {axis}", " along that axis") if len(smeared) > 1 else ("", "")
    now, needed = fluxes.cells[axis], int(np.ceil(fluxes.cells[axis] * times))
    return (
        "Cells are too wide for the drift: where the density is, fluxes add "
        f"{smeared[axis]:.2g} of the diffusion{along} to it; use about {times:.3g} times as many "
        f"cells{there}, {needed} in place of {now}, for which it is {_SHARP:g}."
    )


def _finer(fluxes: Fluxes, masses: Sequence[FloatArray], axis: int) -> float:
    # How many times as many cells are needed: tilts fall with the width, their effect faster.
    low, high = 1.0, 2.0
    while fluxes.smearing(masses, high)[axis] > _SHARP and high < _FINEST:
        low, high = high, 2.0 * high
    while high > 1.02 * low:
        middle = np.sqrt(low * high)
        low, high = (middle, high) if _above(fluxes, masses, axis, middle) else (low, middle)
    return float(high)


def _above(fluxes: Fluxes, masses: Sequence[FloatArray], axis: int, finer: float) -> bool:
    return bool(fluxes.smearing(masses, finer)[axis] > _SHARP)
