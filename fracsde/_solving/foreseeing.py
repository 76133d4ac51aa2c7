r"""Cells too wide for the drift, before the first step: the last density, foreseen.

A result is judged by its density at the last time (:mod:`fracsde._solving.resolution`), and so is
a run before it begins, by a forecast of that density on the same cells:

=====================  ===========================================================================
operator               forecast
=====================  ===========================================================================
the same at all times  2, 4, 8, ... equal steps of the second backward difference formula, one
                       factorisation each, until it is clear on which side of the limit they end
of each time its own   the driven equation in implicit steps, one through each piece of time that
                       one of the operators stands for; and with one half of them, and the other
=====================  ===========================================================================

Sources and reactions are in both, of either sign.  A source of the Riemann-Liouville form enters
Caputo's as

.. math::
    \tau^{\alpha - 1} I^{1 - \alpha} s\, (t) = \frac{\tau^{\alpha - 1}}{\Gamma(2 - \alpha)}
    \sum_k s_k\, \bigl[ (t - b_{k-1})_+^{1 - \alpha} - (t - b_k)_+^{1 - \alpha} \bigr] ,

being :math:`s_k` between :math:`b_{k-1}` and :math:`b_k`.

What needs no step: where the artificial diffusion ``a`` exceeds the limit nowhere, its mean does
not.  And where there is a state at rest :math:`\pi`, the part of a start that is at most
:math:`c\, \pi` stays below it for ever, so that at all times

.. math::
    \sum_i a_i\, p_i(t) \le c \sum_i a_i\, \pi_i + \max_i a_i \sum_i (p_i(0) - c\, \pi_i)_+ .

Only what every forecast condemns is refused.  Where they disagree the result is judged, as it is
with ``throw=False``.
"""

from __future__ import annotations

from math import gamma
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._solving.resolution import SMEARED, judged, pieces_of, smeared
from fracsde.backends import marching_numba, marching_reference
from fracsde.errors import BackendUnavailable, ComputationError
from fracsde.grids import TimeGrid
from fracsde.operators.tensor import TensorCells
from fracsde.schemes.base import ConvolutionScheme
from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
from fracsde.schemes.driven import LeMcLeanMustapha
from fracsde.schemes.marching import march
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fracsde._solving.nouns import Request
    from fracsde._solving.resolution import Fluxes
    from fracsde._solving.trying import Points
    from fracsde._typing import FloatArray

__all__ = ["refuse_wide_cells"]

_ENGINES = {"numba": marching_numba, "numpy": marching_reference}
_FIRST = 2  # steps of the first forecast
_CLEAR = 0.4 * SMEARED  # what the first one says is believed, if it is as little half-way too
_TOGETHER = 3  # forecasts that must agree on a refusal
_MOST = {1: 512, 2: 64, 3: 32}  # of the last one, in so many dimensions
_PART = (
    8  # of the steps of a march in the plane or in space; or four times the first, if that is more
)


def refuse_wide_cells(points: Points, request: Request) -> None:
    """Refuse cells that are too wide for the drift where the last density will be.

    Parameters
    ----------
    points : Points
        The cells, their start and what enters.
    request : Request
        What is wanted.

    Raises
    ------
    ComputationError
        With the number of cells that would do.
    """
    fluxes = points.fluxes
    if fluxes is None or not request.wanted[-1] > 0.0 or _harmless(fluxes, points):
        return
    if points.source_at is not None and not points.entered:
        return  # a scheme that serves no source, which is refused elsewhere
    try:
        with np.errstate(all="ignore"):
            complaint = _foreseen(fluxes, points, request)
    except (BackendUnavailable, ComputationError):
        return  # systems that the run may not need; the result is judged
    if complaint:
        msg = (
            f"Foreseen before the first step; `throw=False` computes it all the same.  {complaint}"
        )
        raise ComputationError(Status.INACCURATE, msg)


def _harmless(fluxes: Fluxes, points: Points) -> bool:
    # Whether no density can be smeared, or none that starts like this.
    if fluxes.worst() <= SMEARED:
        return True
    if len(fluxes.generators) > 1 or points.source_at is not None:
        return False
    rest = _rest(fluxes.generators[0])
    return rest is not None and _bound(fluxes, points.masses, rest) <= SMEARED


def _bound(fluxes: Fluxes, masses: FloatArray, rest: FloatArray) -> float:
    # The most that a density from this start is smeared at any time, for the best of some ``c``.
    at_rest, worst = float(fluxes.smearing([rest]).max()), fluxes.worst()
    times = 0.9 * SMEARED / max(at_rest, 1e-300) * 2.0 ** -np.arange(4.0)
    return min(float(c * at_rest + worst * np.maximum(masses - c * rest, 0.0).sum()) for c in times)


def _rest(generator: Any) -> FloatArray | None:
    # The masses at rest, where there is such a state and it costs no factorisation.
    if not generator.conserves_mass:
        return None
    if isinstance(generator, TensorCells) and generator.log_weight is None:
        return None
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        rest = np.asarray(generator.stationary()).ravel() * generator.widths
    return rest if np.all(np.isfinite(rest)) else None


def _foreseen(fluxes: Fluxes, points: Points, request: Request) -> str:
    # The complaint about the last density, if it is certain.
    moving = request.base.time_dependent
    found: list[float] = []
    for states in (_driven if moving else _steady)(fluxes, points, request):
        found.append(max(smeared(fluxes, states[-1])))
        doubt = np.abs(np.diff(found[-_TOGETHER:]))
        above = found[-1] - SMEARED
        # Most grids serve, and a look or two say so.
        if above <= 0.0 and (moving or (len(doubt) > 0 and doubt[-1] <= -above)):
            return ""
        if len(found) == 1 and all(max(smeared(fluxes, masses)) <= _CLEAR for masses in states):
            return ""
        if len(doubt) == _TOGETHER - 1 and doubt.max() < above:
            return judged(fluxes, states[-1])[1]
    return ""


def _steady(fluxes: Fluxes, points: Points, request: Request) -> Iterator[FloatArray]:
    # Masses at the times of more and more steps.
    last, alpha, steps = float(request.wanted[-1]), request.alpha, _FIRST
    entering = None if points.source_at is None else _entering(points, request)
    while steps <= _most(request):
        yield march(
            fluxes.generators[0],
            ConvolutionQuadrature(bdf=2),
            TimeGrid.uniform(last, steps).times,
            initial=points.masses,
            alpha=alpha,
            scale=request.timescale ** (alpha - 1.0),
            source=entering,
            engine=_ENGINES[request.engine],
        )[1:]
        steps *= 2


def _most(request: Request) -> int:
    most, marches = _MOST[request.base.dimension], isinstance(request.scheme, ConvolutionScheme)
    if request.base.dimension == 1 or not marches:
        return most
    return min(most, max(4 * _FIRST, (len(request.grid) - 1) // _PART))


def _entering(points: Points, request: Request) -> Callable[[float], FloatArray]:
    # What enters Caputo's equation as a function of time.
    times, rates = (np.array(each) for each in zip(*points.entered, strict=True))
    ends, count = pieces_of(times), max(len(times) - 1, 1)
    if not request.driven:
        return lambda t: rates[min(int(np.searchsorted(ends[1:], t)), count - 1)]
    order = 1.0 - request.alpha
    factor = request.timescale**-order / gamma(1.0 + order)

    def integrated(t: float) -> FloatArray:
        powers = np.maximum(t - ends, 0.0) ** order
        return np.asarray(factor * (powers[:-1] - powers[1:]) @ rates[:count])

    return integrated


def _driven(fluxes: Fluxes, points: Points, request: Request) -> Iterator[FloatArray]:
    # Masses at the last time, with one half of the operators, with the other and with all.
    moments, rates = fluxes.times, [entering for _, entering in points.entered]
    for picked in (slice(1, None, 2), slice(0, None, 2), slice(None)):
        # The last operator stands for one moment and no piece of time, unless it is alone.
        all_of_them = np.arange(max(len(moments) - 1, 1))
        inner = all_of_them[picked] if len(all_of_them) > 1 else all_of_them
        clock = (np.append(moments[inner], moments[-1]) / moments[-1]) ** request.alpha
        ends = moments[-1] * pieces_of(clock) ** (1.0 / request.alpha)
        place = {0.0: int(inner[0])} | dict(zip(ends[1:].tolist(), inner.tolist(), strict=True))
        states, _ = LeMcLeanMustapha().march(
            _at(fluxes.generators, place),
            np.array(list(place)),  # pieces too short for a number are none
            initial=points.masses,
            alpha=request.alpha,
            timescale=request.timescale,
            source_at=_at(rates, place) if rates else None,
        )
        yield states[-1:]


def _at(values: Sequence[Any], place: dict[float, int]) -> Callable[[float], Any]:
    return lambda t: values[place[t]]
