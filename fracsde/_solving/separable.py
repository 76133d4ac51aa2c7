"""Independent coordinates on one clock: cells of each, the mixture, and how it ended.

Cells of each coordinate are judged by its own density, that of all others summed out.  Where no
coordinate loses mass it is the density of a problem on a line, and foreseen as such.

Not here: the mixture itself (:mod:`fracsde.schemes.separable`), problems whose coordinates act on
each other (:mod:`fracsde._solving.outcome`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._solving.foreseeing import refuse_wide_cells
from fracsde._solving.nouns import Request
from fracsde._solving.resolution import fluxes_of, judged, smeared
from fracsde._solving.spaces import checked_space
from fracsde._solving.trying import Points
from fracsde.errors import ComputationError, InputError, ShapeError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.operators.chain import CellChain
from fracsde.schemes.propagator import Propagator
from fracsde.schemes.separable import product_mixture
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from fracsde._typing import FloatArray
    from fracsde.problems.separable import SeparableFokkerPlanck
    from fracsde.schemes.separable import ProductMixture

__all__ = ["SeparableOutcome", "separable_outcome"]

_TRUSTED = 1e-8  # relative error above which a result is called inaccurate, if none is named


@dataclass(frozen=True, kw_only=True, eq=False)
class SeparableOutcome:
    """A mixture, what made it, and how it ended.

    Parameters
    ----------
    times : (t,) float64 [t]
        When densities were wanted.
    scheme : Propagator
        What was asked for, or the default.
    engine : str
        Which engine ran.
    spaces : tuple
        Of each coordinate.
    chains : tuple of CellChain
        Cells of each coordinate.
    mixture : ProductMixture
        Weights and factors.
    smearing : tuple of float [1]
        Artificial diffusion of each coordinate at the last time, relative to the true one.
    status : Status
        How it ended.
    detail : str
        A sentence, empty for a success.
    """

    times: FloatArray
    scheme: Propagator
    engine: str
    spaces: tuple[Any, ...]
    chains: tuple[CellChain, ...]
    mixture: ProductMixture
    smearing: tuple[float, ...]
    status: Status
    detail: str


def separable_outcome(
    problem: SeparableFokkerPlanck,
    wanted: FloatArray,
    *,
    scheme: Any,
    space: Any,
    engine: str,
    bar: Callable[..., AbstractContextManager[Callable[[int], None] | None]],
    refuse: bool = False,
) -> SeparableOutcome:
    """Solve for independent coordinates on one clock.

    Parameters
    ----------
    problem : SeparableFokkerPlanck
        The problem.
    wanted : (t,) float64 [t]
        When densities are wanted.
    scheme : Propagator or None
        How.
    space : FiniteVolume, a sequence of them, or None
        Cells of all coordinates, or of each.
    engine : str
        Engine of the solves.
    bar : callable
        From a number of steps to a context that gives the function to call after each.
    refuse : bool
        Whether cells too wide for the drift are refused before anything is propagated.

    Returns
    -------
    SeparableOutcome

    Raises
    ------
    ComputationError
        If they are.
    UnsupportedError
        If the scheme marches: memory in time couples the coordinates.
    """
    if scheme is not None and not isinstance(scheme, Propagator):
        msg = (
            "`scheme` for a SeparableFokkerPlanck must be Propagator() or None, got "
            f"{scheme!r}; to march, write up to three dimensions as FractionalFokkerPlanck"
        )
        raise UnsupportedError(msg)
    spaces = _spaces(problem, space)
    # What is one object in several places is discretised, and later propagated, once.
    made: dict[tuple[int, int], tuple[CellChain, FloatArray]] = {}
    pairs = []
    for i, (factor, points) in enumerate(zip(problem.factors, spaces, strict=True)):
        key = (id(factor), id(points))
        if key not in made:
            made[key] = _discretised(i, factor, points)
        pairs.append(made[key])
    chains = tuple(chain for chain, _ in pairs)
    if refuse and wanted[-1] > 0.0 and all(chain.conserves_mass for chain in chains):
        _refuse_wide_cells(problem, pairs, wanted, scheme, engine, bar)
    with bar(len(made)) as watch:
        mixture = product_mixture(
            chains,
            [start for _, start in pairs],
            wanted,
            alpha=problem.alpha,
            timescale=problem.timescale,
            rtol=None if scheme is None else scheme.rtol,
            backend=engine,
            watch=watch,
        )
    status, detail = _judged(mixture, _TRUSTED if scheme is None else scheme.rtol)
    smearing, complaint = _smeared(chains, mixture)
    if status.ok and complaint:
        status, detail = Status.INACCURATE, complaint
    return SeparableOutcome(
        times=wanted,
        scheme=Propagator() if scheme is None else scheme,
        engine=engine,
        spaces=spaces,
        chains=chains,
        mixture=mixture,
        smearing=smearing,
        status=status,
        detail=detail,
    )


def _judged(mixture: ProductMixture, allowed: float) -> tuple[Status, str]:
    if not all(np.all(np.isfinite(density)) for density in mixture.densities):
        return Status.NOT_FINITE, "Check the coefficients."
    if not mixture.error <= allowed:
        detail = (
            f"The estimated error is {mixture.error:.1e}, {allowed:.1e} was asked for, and this "
            "is the best that was reached; ask for less with Propagator(rtol=...)."
        )
        return Status.INACCURATE, detail
    return Status.SUCCESS, ""


def _refuse_wide_cells(
    problem: SeparableFokkerPlanck,
    pairs: list[tuple[CellChain, FloatArray]],
    wanted: FloatArray,
    scheme: Propagator | None,
    engine: str,
    bar: Any,
) -> None:
    # Each different coordinate as a problem on a line.
    places = {id(pair): i for i, pair in reversed(list(enumerate(pairs)))}
    for i in sorted(places.values()):
        chain, start = pairs[i]
        request = Request(
            base=problem.factors[i],
            alpha=problem.alpha,
            timescale=problem.timescale,
            grid=TimeGrid.from_times(wanted),
            mesh_given=False,
            wanted=wanted,
            scheme=scheme,
            engine=engine,
            bar=bar,
        )
        points = Points(
            generator=chain,
            masses=start,
            generator_at=dict.fromkeys([0.0], chain).__getitem__,
            source_at=None,
            entered=(),
            fluxes=fluxes_of([chain], np.ones(1), problem.alpha),
        )
        try:
            refuse_wide_cells(points, request)
        except ComputationError as error:
            raise ComputationError(error.status, _of(i, error.detail)) from None


def _smeared(
    chains: tuple[CellChain, ...], mixture: ProductMixture
) -> tuple[tuple[float, ...], str]:
    # What cells do to the last density of each coordinate, and what is wrong with the worst.
    last = [density[-1] for density in mixture.densities]
    kept = np.array([d @ chain.widths for chain, d in zip(chains, last, strict=True)])
    ones = np.ones((1, kept.shape[1]))
    # What all other coordinates have left of each component.
    before = np.cumprod(np.concatenate([ones, kept[:-1]]), axis=0)
    after = np.cumprod(np.concatenate([ones, kept[:0:-1]]), axis=0)[::-1]
    each = [
        (fluxes_of([chain], np.ones(1), 1.0), (weights @ density) * chain.widths)
        for chain, density, weights in zip(
            chains, last, mixture.weights * before * after, strict=True
        )
    ]
    found = [smeared(fluxes, masses)[0] for fluxes, masses in each if fluxes is not None]
    worst = int(np.argmax(found))
    complaint = judged(*each[worst])[1]
    return tuple(found), _of(worst, complaint) if complaint else ""


def _of(i: int, complaint: str) -> str:
    return f"`factors[{i}]`: {complaint[0].lower()}{complaint[1:]}"


def _spaces(problem: SeparableFokkerPlanck, space: Any) -> tuple[Any, ...]:
    # One per coordinate.
    given: list[Any] = [space] * problem.dimension
    if isinstance(space, (tuple, list)):
        given = list(space)
    if len(given) != problem.dimension:
        msg = (
            f"`space` holds {len(given)} spaces and the problem has {problem.dimension} "
            "coordinates; name one for all, or one for each"
        )
        raise ShapeError(msg)
    if "auto" in [points for points in given if isinstance(points, str)]:
        msg = (
            '`space="auto"` chooses the points of one density, and here are many; name cells, '
            "e.g. FiniteVolume(cells=256)"
        )
        raise InputError(msg)
    # The default is one object for all places of a factor.
    own: dict[int, Any] = {}
    found = []
    for factor, points in zip(problem.factors, given, strict=True):
        chosen = checked_space(points, factor)
        found.append(own.setdefault(id(factor), chosen) if points is None else chosen)
    return tuple(found)


def _discretised(i: int, factor: Any, space: Any) -> tuple[CellChain, FloatArray]:
    # A chain and its start.
    chain = space.discretise(factor)
    if not isinstance(chain, CellChain):
        msg = (
            f"`space` makes a {type(chain).__name__} of `factors[{i}]`, and mixtures of positive "
            "densities need cells in a row; use FiniteVolume(cells=...)"
        )
        raise UnsupportedError(msg)
    return chain, chain.project(factor.initial)
