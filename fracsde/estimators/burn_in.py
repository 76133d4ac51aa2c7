r"""How much of the beginning to drop.

The second half is the reference.  A value inside its range is replaced by the normal score of its
rank there and one outside by the score of the edge plus its distance in standard deviations, ten
at most; a distance to the median is replaced by its rank (normal scores of distances would not do,
averages of them over a block are far from normal).  Scores are averaged over blocks of one
integrated time :math:`\tau` of the second half.  A block *moves* if its mean lies further from that
of the second half than Student's quantile allows, at a level divided by the first three blocks, the
coordinates and both scores.  A burn-in starts in those three and goes on while no more than two
blocks in a row are still.  With :math:`b` its last block,

.. math::
    t_0 = (b + 2)\,\tau ,

one block more than was seen to move; nothing is dropped where none does.  An excess that decays
like :math:`e^{-2t/\tau}` was below about five standard errors of a block at
:math:`(b + 1)\,\tau` and falls by :math:`e^2` in the next, so that the bias it leaves in a mean
over :math:`n` blocks is at most about :math:`5\,e^{-2}/(2\sqrt n)` of the mean's standard error: a
third for one block, and less for more.

Errors of the blocks are taken across chains from 16 on, and from the blocks of the second half
with fewer.  A run that still moves at the end of its first half is refused.

Not here: whether the rest is stationary, :mod:`fracsde.estimators.diagnostics`.

References: [Geweke1992]_ for the comparison with the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

from fracsde._check import real
from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import autocovariance
from fracsde.estimators.chains import MIN_CHAINS, coordinate_names
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.gapped import on_grid, places
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, BoolArray, FloatArray

__all__ = ["burn_in", "thinned"]

_MIN_DRAWS = 20
_MOST = 1 << 17  # draws of a coordinate that are looked at
_FEWEST = 1024  # of each chain at least
_WINDOW = 2.5  # Sokal's, in integrated times
_START = 3  # blocks in which a burn-in starts, and more than those it may pause for
_FAR = 10.0  # scores beyond the range of the second half


def burn_in(trajectory: Trajectory | ArrayLike, *, level: float = 1e-3) -> int:
    """Say how many draws to drop from the beginning.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        Equally spaced draws, or windows of them, at least 20.
    level : float [1]
        Chance of dropping anything from a run that was stationary from the start.

    Returns
    -------
    int
        Draws; ``trajectory.between(trajectory.times[burn_in])`` is the rest.

    Raises
    ------
    RecordError
        If the run still moves at the end of its first half, does not vary, or is so short that
        its halves hold no correlation time.

    References
    ----------
    [Geweke1992]_, [Vehtari2021]_

    Examples
    --------
    >>> noise = np.random.default_rng(5).standard_normal((32, 400, 1))
    >>> burn_in(noise)
    0
    >>> 40 < burn_in(noise + 10 * np.exp(-np.arange(400) / 20)[:, None]) < 200
    True
    """
    level = real("level", level, low=0.0, high=1.0)
    run = on_grid(trajectory)
    if run.draws < _MIN_DRAWS:
        msg = f"a burn-in needs at least {_MIN_DRAWS} draws, got {run.draws}; record more often"
        raise RecordError(msg)
    every, few = thinned(run)
    found = _blocks(_scores(few))
    moves = _moves(found.means, level)
    last = _last(np.asarray(moves.any(axis=1)))
    if last < 0:
        return 0
    if last == len(moves) - 1:
        k = int(np.argmax(moves[last])) % run.dimension
        msg = (
            f"coordinate {coordinate_names(run)[k]!r} still moves at the end of the first half of "
            f"{run.draws} draws, so no burn-in can be told from the rest; record longer"
        )
        raise RecordError(msg)
    return min((last + 2) * found.length * every, run.draws - 1)


def thinned(run: Trajectory) -> tuple[int, Trajectory]:
    """Return every ``k``-th draw of a long record, and ``k``.

    Returns
    -------
    int, Trajectory
    """
    wanted = max(_FEWEST, _MOST // run.chains)
    every = max(1, run.draws // wanted)
    if every == 1:
        return 1, run
    at = places(run)
    kept = slice(None, None, every) if at is None else at % every == 0
    values, times = run.values[:, kept], run.times[kept]
    return every, Trajectory(values=values, times=times, names=run.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Blocks:
    length: int  # draws
    means: FloatArray  # (chain, block, score)


def _scores(run: Trajectory) -> Trajectory:
    # Scores of all coordinates, then of their distances to the median of the second half.
    values = np.empty((run.chains, run.draws, 2 * run.dimension))
    half = run.draws // 2
    for i, name in enumerate(coordinate_names(run)):
        x = run.values[..., i]
        if not np.ptp(x[:, half:]) > 0.0:
            msg = f"coordinate {name!r} does not vary in the second half; drop constant coordinates"
            raise RecordError(msg)
        values[..., i] = special.ndtri(_ranks(x, half))
        edges, width = (x[:, half:].min(), x[:, half:].max()), x[:, half:].std()
        beyond = (x - np.clip(x, *edges)) / width
        values[..., i] += np.clip(beyond, -_FAR, _FAR)
        away = np.abs(x - np.median(x[:, half:]))
        values[..., run.dimension + i] = _ranks(away, half)
    names = [*coordinate_names(run), *(f"spread of {name}" for name in coordinate_names(run))]
    return Trajectory(values=values, times=run.times, names=names)


def _ranks(x: FloatArray, half: int) -> FloatArray:
    # Shares of the second half's values that lie below, inside (0, 1).
    reference = np.sort(x[:, half:], axis=None)
    below = np.searchsorted(reference, x, side="left")
    upto = np.searchsorted(reference, x, side="right")
    return np.asarray((0.5 * (below + upto) + 0.5) / (reference.size + 1.0), dtype=np.float64)


def _blocks(scores: Trajectory) -> _Blocks:
    half = scores.draws // 2
    second = Trajectory(
        values=scores.values[:, half:], times=scores.times[half:], names=scores.names
    )
    few = scores.chains < MIN_CHAINS
    tau = correlation_times(second).whole if few else _ensemble_time(second)
    length = int(np.ceil(max(1.0, tau.max())))
    number = scores.draws // length
    if number < 4:
        msg = (
            f"{scores.draws} draws hold fewer than four correlation times (estimated at "
            f"{length} draws so far), so no burn-in can be told from the rest; record longer"
        )
        raise RecordError(msg)
    kept = scores.values[:, : number * length]
    means = kept.reshape(scores.chains, number, length, -1).mean(axis=2)
    return _Blocks(length=length, means=means)


def _ensemble_time(second: Trajectory) -> FloatArray:
    # Integrated time of the envelope of many short chains, by Sokal's window if they reach it.
    rho = autocovariance(second)
    envelope = 1.0 + 2.0 * np.cumsum(np.abs(rho[1:] / rho[0]), axis=0)
    inside = np.arange(1, len(rho))[:, None] >= _WINDOW * envelope
    end = np.where(inside.any(axis=0), inside.argmax(axis=0), (len(rho) - 1) // 2)
    return np.asarray(np.take_along_axis(envelope, end[None], axis=0)[0], dtype=np.float64)


def _moves(means: FloatArray, level: float) -> BoolArray:
    # (block, score): which blocks of the first half lie apart from the second half.
    chains, number = means.shape[:2]
    half = number // 2
    end = means[:, half:]
    away = means[:, :half] - end.mean(axis=1, keepdims=True)
    if chains >= MIN_CHAINS:
        stderr = away.std(axis=0, ddof=1) / np.sqrt(chains)
        degrees = chains - 1.0
    else:
        values = chains * (number - half)
        spread = end.reshape(values, -1).std(axis=0, ddof=1)
        stderr = spread * np.sqrt(1.0 / chains + 1.0 / values)
        degrees = values - 1.0
    limit = stats.t.isf(0.5 * level / (min(_START, half) * means.shape[2]), degrees)
    return np.asarray(np.abs(away.mean(axis=0)) > limit * stderr, dtype=np.bool_)


def _last(moves: BoolArray) -> int:
    # The last block of a burn-in, -1 if there is none.
    last = -1
    for block in np.flatnonzero(moves):
        if block - last > _START:
            break
        last = int(block)
    return last
