r"""Exact samples of stable laws, their inverses, first passages and inverse paths.

.. math::
    \mathbb{E}\, e^{-p S} = e^{-p^\alpha}, \qquad
    U(\tau + h) - U(\tau) \overset{d}{=} h^{1/\alpha} S, \qquad
    E_t = \inf\{\tau : U(\tau) > t\} \overset{d}{=} (t/S)^\alpha .

Nothing is discretised.  One law at one time needs one ``S``.  A path of ``E`` at increasing times
is drawn from first passages: when ``U`` crosses a level at operational time ``T`` by a jump from
``before`` to ``after``, ``E`` equals ``T`` from the level up to ``after``, and ``U`` starts afresh
there.  So the cost of a path is one first passage a time at most, none while ``E`` stands still.

Laws are exact but for rounding: numbers are drawn from uniforms of 53 bits, and close to
``alpha = 1`` overshoots fall below the spacing of floating-point numbers, where ``before`` and
``after`` round to the level.  ``tests/special/test_stable_sampling.py`` holds every sampler
against :mod:`fracsde.special.stable` and the paths against the two-time law

.. math::
    \mathbb{E}\, e^{-\mu E_s - \lambda (E_t - E_s)} = E_\alpha(-\lambda t^\alpha)
    + (\lambda - \mu) \int_0^s y^{\alpha-1} E_{\alpha,\alpha}(-\mu y^\alpha)\,
      E_\alpha(-\lambda (t-y)^\alpha)\, dy , \qquad s \le t .

At ``alpha = 1`` the subordinator is the clock itself, ``S = 1`` and ``E_t = t``, and samplers
return the constants.

Not here: densities (:mod:`fracsde.special.stable`), subordinated processes
(:mod:`fracsde.schemes`), tempered laws.

References: [Kanter1975]_, [ChambersMallowsStuck1976]_, [Bertoin1996]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fracsde._check import finite_array, integer, real
from fracsde.errors import GridError, InputError, OutOfRangeError, ShapeError
from fracsde.special._sampling_kernels import (
    fill_first_passages,
    fill_inverse_paths,
    fill_log_stable,
)

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, RandomState

__all__ = [
    "sample_first_passage",
    "sample_inverse_stable",
    "sample_inverse_stable_paths",
    "sample_stable",
]

Size: TypeAlias = int | tuple[int, ...]


def sample_stable(alpha: float, size: Size, rng: RandomState) -> FloatArray:
    r"""Draw one-sided stable variables, :math:`\mathbb{E}\, e^{-pS} = e^{-p^\alpha}`.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha <= 1``.
    size : int or tuple of int
        Shape of the result.
    rng : int, SeedSequence or Generator
        The seed; a generator is drawn from.

    Returns
    -------
    ndarray of float64
        Of shape ``size``.  Where ``S`` exceeds the largest number, which at ``alpha = 0.01``
        happens once in a thousand draws, it is infinite.

    References
    ----------
    [Kanter1975]_

    Examples
    --------
    >>> draws = sample_stable(0.7, 100_000, rng=1)
    >>> bool(abs(np.exp(-draws).mean() - np.exp(-1.0)) < 5e-3)
    True
    """
    alpha, shape, generator = _order(alpha), _shape(size), _generator(rng)
    if alpha == 1.0:
        return np.ones(shape)
    out = np.empty(shape)
    fill_log_stable(out.reshape(-1), alpha, 1.0, generator)
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(out, out=out)


def sample_inverse_stable(t: ArrayLike, alpha: float, size: Size, rng: RandomState) -> FloatArray:
    r"""Draw :math:`E_t`, independently for each entry.

    Parameters
    ----------
    t : array_like [t]
        Not negative; broadcasts to ``size``.
    alpha : float [1]
        Order, ``0 < alpha <= 1``.
    size : int or tuple of int
        Shape of the result.
    rng : int, SeedSequence or Generator
        The seed; a generator is drawn from.

    Returns
    -------
    ndarray of float64 [t**alpha]
        Of shape ``size``.

    Raises
    ------
    OutOfRangeError
        If a time is negative.

    References
    ----------
    [MeerschaertStraka2013]_

    Examples
    --------
    >>> from math import gamma
    >>> draws = sample_inverse_stable(2.0, 0.6, 100_000, rng=1)
    >>> bool(abs(draws.mean() - 2.0**0.6 / gamma(1.6)) < 0.02)
    True
    """
    alpha, shape, generator = _order(alpha), _shape(size), _generator(rng)
    t = _broadcast("t", finite_array("t", t), shape)
    if np.any(t < 0):
        msg = f"`t` must not be negative, got {t.min():g}; the clock starts at E_0 = 0"
        raise OutOfRangeError(msg)
    if alpha == 1.0:
        return np.array(t)
    out = np.empty(shape)
    fill_log_stable(out.reshape(-1), alpha, -alpha, generator)
    with np.errstate(under="ignore"):
        return np.asarray(t**alpha * np.exp(out, out=out), dtype=np.float64)


def sample_first_passage(
    level: ArrayLike, alpha: float, size: Size, rng: RandomState
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw the first passage of a level by the stable subordinator: when, from and to where.

    Parameters
    ----------
    level : array_like [t]
        Positive; broadcasts to ``size``.
    alpha : float [1]
        Order, ``0 < alpha <= 1``.
    size : int or tuple of int
        Shape of each result.
    rng : int, SeedSequence or Generator
        The seed; a generator is drawn from.

    Returns
    -------
    time : ndarray of float64 [t**alpha]
        Operational time of the passage; its law is that of ``E_t`` at ``t = level``.
    before : ndarray of float64 [t]
        Position just before; at most ``level``, and equal to it only by rounding.  At small
        orders its logarithm is spread over ``1 / alpha``: it underflows to 0 where it is below
        the smallest number, as at ``alpha = 0.003`` for a level of 1 in every tenth draw.
    after : ndarray of float64 [t]
        Position after the jump; at least ``level``.  Likewise infinite where it exceeds the
        largest number.

    Raises
    ------
    OutOfRangeError
        If a level is not positive.

    References
    ----------
    [Bertoin1996]_, chapter III, for the joint law.

    Examples
    --------
    >>> time, before, after = sample_first_passage(3.0, 0.8, 5, rng=1)
    >>> bool(np.all(time > 0) and np.all(before < 3.0) and np.all(after > 3.0))
    True
    """
    alpha, shape, generator = _order(alpha), _shape(size), _generator(rng)
    level = _broadcast("level", finite_array("level", level), shape)
    if np.any(level <= 0):
        msg = f"`level` must be positive, got {level.min():g}; at 0 the subordinator starts"
        raise OutOfRangeError(msg)
    if alpha == 1.0:
        return np.array(level), np.array(level), np.array(level)
    time, before, after = np.empty(shape), np.empty(shape), np.empty(shape)
    fill_first_passages(
        np.ascontiguousarray(level).reshape(-1),
        time.reshape(-1),
        before.reshape(-1),
        after.reshape(-1),
        alpha,
        generator,
    )
    return time, before, after


def sample_inverse_stable_paths(
    times: ArrayLike, alpha: float, size: int, rng: RandomState
) -> FloatArray:
    """Draw paths of the inverse subordinator, exact jointly at all times.

    Parameters
    ----------
    times : (m,) array_like [t]
        Strictly increasing, not negative.
    alpha : float [1]
        Order, ``0 < alpha <= 1``.
    size : int
        Number of paths.
    rng : int, SeedSequence or Generator
        The seed; a generator is drawn from.

    Returns
    -------
    (size, m) ndarray of float64 [t**alpha]
        Each row does not decrease.

    Raises
    ------
    GridError
        If the times do not increase strictly from a number that is not negative.

    References
    ----------
    [Bertoin1996]_, [MeerschaertStraka2013]_

    Examples
    --------
    >>> paths = sample_inverse_stable_paths([0.0, 1.0, 1.1, 5.0], 0.5, 3, rng=1)
    >>> bool(np.all(paths[:, 0] == 0) and np.all(np.diff(paths) >= 0))
    True
    """
    alpha, generator = _order(alpha), _generator(rng)
    size = integer("size", size, low=0)
    times = finite_array("times", times, ndim=1)
    if np.any(np.diff(times) <= 0) or np.any(times < 0):
        msg = (
            f"`times` must increase strictly from 0 or later, got {times}; sort them and drop "
            "repetitions"
        )
        raise GridError(msg)
    if alpha == 1.0:
        return np.tile(times, (size, 1))
    out = np.empty((size, len(times)))
    fill_inverse_paths(times, out, alpha, generator)
    return out


def _order(alpha: float) -> float:
    # Return ``alpha`` if it lies in (0, 1].
    alpha = real("alpha", alpha)
    remedy = "one-sided stable laws of order above 1 do not exist" if alpha > 1.0 else ""
    return real("alpha", alpha, low=0.0, high=1.0, closed="high", remedy=remedy)


def _shape(size: Size) -> tuple[int, ...]:
    # Return ``size`` as a shape.
    sizes = size if isinstance(size, tuple) else (size,)
    return tuple(integer("size", n, low=0) for n in sizes)


def _generator(rng: RandomState) -> np.random.Generator:
    # Return a generator: the caller's own, or one made from a seed.
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, np.random.SeedSequence):
        return np.random.default_rng(rng)
    if isinstance(rng, (bool, np.bool_)) or not isinstance(rng, (int, np.integer)):
        msg = (
            "`rng` must be a whole number, a SeedSequence or a Generator, got "
            f"{type(rng).__name__}; a whole number gives the same draws each time"
        )
        raise InputError(msg)
    return np.random.default_rng(integer("rng", rng, low=0))


def _broadcast(name: str, array: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    # Return ``array`` stretched to ``shape``.
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        msg = (
            f"`{name}` of shape {array.shape} must broadcast to size {shape}; make `size` the "
            "shape of the result"
        )
        raise ShapeError(msg) from error
