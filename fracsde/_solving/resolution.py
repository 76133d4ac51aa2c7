r"""Whether cells are narrow enough for the drift.

Fluxes across a tilt :math:`\delta` diffuse by a share :math:`a = \tfrac\delta2
\coth\tfrac\delta2 - 1` too much (:func:`fracsde.operators.bernoulli.artificial_diffusion`).  Jumps
one way and the other, a distance :math:`h` apart, spread a walker by

.. math::
    h^2 (\mathrm{right} + \mathrm{left}) = D\, [B(\delta) + B(-\delta)]
        = 2 D\, \tfrac\delta2 \coth\tfrac\delta2 = 2 D\, (1 + a)

per time, so that over a run the variance that cells add is to the one the diffusion adds as the
mean of ``a`` over all times and, at each, over the density; for a force that is the same everywhere
exactly, however it depends on time.  Harm is done only where there is density, and what happened
on the way is forgotten at rest: a result is called inaccurate where ``a`` exceeds one half in the
mean over its last density.

Not here: the last density before the first step (:mod:`fracsde._solving.foreseeing`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.operators.bernoulli import artificial_diffusion
from fracsde.operators.chain import CellChain
from fracsde.operators.tensor import TensorCells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import FloatArray

__all__ = ["SMEARED", "Fluxes", "fluxes_of", "judged", "pieces_of", "smeared"]

SMEARED, _SHARP = 0.5, 0.05  # artificial diffusion over the true one: too much, and good
_ROUGH = 1e-6  # residual over right-hand side of what is solved for a forecast
_FINEST = 1e12  # times as many cells, beyond which nobody counts


@dataclass(frozen=True, kw_only=True, eq=False)
class Fluxes:
    """The cells of a problem at some of its times.

    Parameters
    ----------
    generators : tuple of CellChain or TensorCells
        In the order of time; one where it does not depend on time.
    times : (k,) float64 [t]
        Theirs.
    shares : (k,) float64 [1]
        How much each counts; their sum is one.
    cells : tuple of int
        Along each axis, as the caller counts them.
    """

    generators: tuple[Any, ...]
    times: FloatArray
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

    def worst(self) -> float:
        """Return the artificial diffusion where cells are widest for the drift, relatively [1]."""
        steepest = 0.0
        for g in self.generators:
            tilts = [g.tilt] if isinstance(g, CellChain) else [bond.tilt for bond in g.bonds]
            steepest = max(steepest, *(float(np.abs(tilt).max()) for tilt in tilts))
        return float(artificial_diffusion(np.array(steepest)))


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
        times=times,
        shares=_shares_of((times / times[-1]) ** alpha),  # integrals of t**(alpha - 1)
        cells=tuple(cells or generators[0].shape),
    )


def pieces_of(moments: FloatArray) -> FloatArray:
    """Return the ends of the pieces of an interval from 0 that are nearest to some moments.

    Parameters
    ----------
    moments : (k,) float64
        Increasing; the last is the end of the interval and has no piece, unless it is alone.

    Returns
    -------
    (k,) or (2,) ndarray
        From 0 to the end of the interval.

    Examples
    --------
    >>> pieces_of(np.array([1.0, 3.0, 4.0]))
    array([0., 2., 4.])
    """
    inner = moments[:-1]
    return np.concatenate([[0.0], 0.5 * (inner[1:] + inner[:-1]), moments[-1:]])


def _shares_of(moments: FloatArray) -> FloatArray:
    # What part of the interval each piece is; the last moment has none, unless it is alone.
    if len(moments) == 1:
        return np.ones(1)
    return np.append(np.diff(pieces_of(moments)) / moments[-1], 0.0)


def smeared(fluxes: Fluxes, masses: FloatArray) -> tuple[float, ...]:
    """Return the artificial diffusion by which a density is judged, relative to the true one.

    Where the force depends on time it is judged by its value then and by all times, whichever
    smears less: the first may be a short pulse, the second of where the density has not been.

    Parameters
    ----------
    fluxes : Fluxes
        At some times, the last of them the density's own.
    masses : (n,) float64 [1]
        At the last time.

    Returns
    -------
    tuple of float [1]
        Along each axis.
    """
    each = [view.smearing([masses] * len(view.generators)) for view in _views(fluxes)]
    return tuple(np.min(each, axis=0).tolist())


def judged(fluxes: Fluxes | None, masses: FloatArray) -> tuple[tuple[float, ...], str]:
    """Say what cells do to the density at the last time.

    Parameters
    ----------
    fluxes : Fluxes or None
        At some times, the last of them the density's own.
    masses : (n,) float64 [1]
        At the last time.

    Returns
    -------
    tuple of float [1]
        As :func:`smeared`; empty if it is not known.
    str
        What is wrong and how many cells would do; empty if they are good enough.
    """
    if fluxes is None:
        return (), ""
    found = np.array(smeared(fluxes, masses))
    if not found.max() > SMEARED:
        return tuple(found.tolist()), ""
    axis = int(np.argmax(found))
    views = [(view, [masses] * len(view.generators)) for view in _views(fluxes)]
    view, where = min(views, key=lambda each: float(each[0].smearing(each[1])[axis]))
    return tuple(found.tolist()), _complaint(view, where, found)


def _views(fluxes: Fluxes) -> list[Fluxes]:
    # All times, and the last one where there are more.
    if len(fluxes.generators) == 1:
        return [fluxes]
    last = replace(
        fluxes, generators=fluxes.generators[-1:], times=fluxes.times[-1:], shares=np.ones(1)
    )
    return [last, fluxes]


def _bare(generator: Any) -> Any:
    # The same cells, which hold no factorisation and solve as well as forecasts need.
    return generator.bare(rtol=_ROUGH) if isinstance(generator, TensorCells) else generator


def _complaint(fluxes: Fluxes, masses: Sequence[FloatArray], found: FloatArray) -> str:
    # What is wrong along the worst axis and how many cells would do there.
    axis = int(np.argmax(found))
    times = _finer(fluxes, masses, axis)
    along, there = (f" along axis {axis}", " along that axis") if len(found) > 1 else ("", "")
    now, needed = fluxes.cells[axis], int(np.ceil(fluxes.cells[axis] * times))
    return (
        "Cells are too wide for the drift: where the density is, fluxes add "
        f"{found[axis]:.2g} of the diffusion{along} to it; use about {times:.3g} times as many "
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
