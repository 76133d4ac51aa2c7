r"""Exact laws of the Ornstein-Uhlenbeck process on a fractional clock.

.. math::
    X(t) = Y(E_t), \qquad \mathbb{E} f(X(t)) = \int_0^\infty M_\alpha(u)\,
    \mathrm{E} f\bigl(Y(\theta u)\bigr)\, du, \qquad
    \theta = \texttt{timescale}^{1-\alpha}\, t^\alpha .

Everything known of ``Y`` at one operational time is Gaussian and in closed form; ``X`` is its
mixture over the clock.  Means, covariances and displacements are verbs of
:mod:`fracsde.transients`, which serve this process too; here is what only a random clock needs:

===========================  =====================================================================
:func:`variance_along`       variances along directions or of each coordinate, of 10 000 too
:func:`two_time_covariance`  ``Cov(X_t, X_s)`` from any start: it depends on both times
:func:`density_at`           density of one direction, or of the state
:func:`distribution_at`      probability below a point along a direction
:func:`sample_at`            exact samples at one time
===========================  =====================================================================

No method discretises time, and none diagonalises a drift that is not symmetric: defective and
strongly non-normal drifts are served like any other.  Unstable ones are too, until averages exceed
the largest float.  Errors are about 1e-14 of the result and below 1e-12, as
``tests/test_subordination.py`` measures.

Not here: paths (:func:`fracsde.simulate`), other forces (:func:`fracsde.solve`).

References: [MagdziarzWeron2007]_, [Leonenko2013]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer, real
from fracsde._subordination.averages import clock_variance
from fracsde._subordination.correlations import clock_covariances_between
from fracsde._subordination.marginals import marginal, space_density
from fracsde._subordination.starts import read_start
from fracsde.backends.philox import seed_key
from fracsde.backends.registry import require
from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.schemes._random_gap import random_gap
from fracsde.schemes.subordinated import clock_at, normals_of, start_states

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.problems.subordinated import BaseProcess

__all__ = [
    "density_at",
    "distribution_at",
    "sample_at",
    "two_time_covariance",
    "variance_along",
]


def variance_along(
    process: SubordinatedOU | BaseProcess,
    times: ArrayLike,
    directions: ArrayLike | None = None,
    *,
    initial: ArrayLike | str,
    initial_covariance: ArrayLike = 0.0,
) -> FloatArray:
    r"""Return variances along directions, or of every coordinate.

    .. math:: \operatorname{Var}(u\cdot X_t)

    Parameters
    ----------
    process : SubordinatedOU, OUProcess, DiagonalOU or LowRankOU
        Stable or not.
    times : float or (t,) array_like [t]
        Not negative, in any order.
    directions : (d, p) array_like [1], optional
        One direction per column, used as they are; without them every coordinate.
    initial : (d,) array_like [x] or "stationary"
        Mean at time 0, or the stationary law.
    initial_covariance : array_like [x^2]
        Covariance at time 0: 0 for a point; a matrix for an OUProcess, a number or one for each
        coordinate for a DiagonalOU, a number for a LowRankOU.

    Returns
    -------
    (t, p) or (t, d) float64 [x^2]

    Examples
    --------
    >>> base = DiagonalOU(drift=np.linspace(0.1, 1.0, 10_000), noise=2.0)
    >>> process = SubordinatedOU(base=base, alpha=0.6)
    >>> variance_along(process, 3.0, np.ones((10_000, 1)), initial=0.0 * base.drift).round(6)
    array([[16054.677074]])
    """
    sub = _on_clock(process)
    when = _times(times)
    start = read_start(sub.base, initial, initial_covariance)
    U = None
    if directions is not None:
        U = finite_array("directions", directions, shape=(sub.dimension, None))
    return clock_variance(sub, when, start, U)


def two_time_covariance(
    process: SubordinatedOU | BaseProcess,
    s: ArrayLike,
    t: ArrayLike,
    *,
    initial: ArrayLike | str,
    initial_covariance: ArrayLike = 0.0,
    directions: ArrayLike | None = None,
    centred: bool = True,
) -> FloatArray:
    r"""Return the covariance between the states at two times.

    .. math::
        \operatorname{Cov}(X_t, X_s), \qquad\text{or}\qquad
        \mathrm{E}[(X_t - m)(X_s - m)^T] \quad\text{where not centred;}

    rows belong to ``t``, columns to ``s``, in either order of the times.  From the stationary law
    one coordinate of rate ``a`` has [Leonenko2013]_

    .. math::
        \frac{\operatorname{Cov}(X_t, X_s)}{\operatorname{Var}} = E_\alpha(-a t^\alpha)
        + \frac{a}{\Gamma(\alpha)} \int_0^s y^{\alpha-1} E_\alpha(-a (t-y)^\alpha)\, dy ,

    which falls like :math:`t^{-\alpha}` in ``t`` and rises in ``s`` at a fixed lag: the process
    ages.

    Parameters
    ----------
    process : SubordinatedOU, OUProcess, DiagonalOU or LowRankOU
        Stable or not.
    s, t : array_like [t]
        Not negative; they broadcast.
    initial : (d,) array_like [x] or "stationary"
        Mean at time 0, or the stationary law.
    initial_covariance : array_like [x^2]
        As for :func:`variance_along`.
    directions : (d, p) array_like [1], optional
        Return :math:`u\cdot\operatorname{Cov}\,u` for each column ``u`` instead of matrices.
    centred : bool
        Whether means are subtracted.

    Returns
    -------
    (..., d, d) or (..., p) float64 [x^2]
        With the shape of ``s`` and ``t`` in front.

    Raises
    ------
    ShapeError
        If ``s`` and ``t`` do not broadcast.

    Notes
    -----
    The cost grows as ``alpha`` approaches 1, and with the turns that modes make while they decay:
    an oscillator without damping is refused.

    References
    ----------
    [Leonenko2013]_

    Examples
    --------
    >>> base = OUProcess(drift=[[1.0]], noise=[[2.0]])
    >>> process = SubordinatedOU(base=base, alpha=0.5)
    >>> pairs = two_time_covariance(process, [0.0, 10.0], [1.0, 11.0], initial="stationary")
    >>> pairs.ravel().round(4)
    array([0.4276, 0.9034])
    """
    sub = _on_clock(process)
    first, second = _not_negative("s", s), _not_negative("t", t)
    try:
        first, second = np.broadcast_arrays(first, second)
    except ValueError as error:
        msg = f"`s` and `t` must broadcast, got shapes {first.shape} and {second.shape}"
        raise ShapeError(msg) from error
    U = None
    if directions is not None:
        U = finite_array("directions", directions, shape=(sub.dimension, None))
    start = read_start(sub.base, initial, initial_covariance)
    return clock_covariances_between(sub, first, second, start, U, centred=centred)


def density_at(
    process: SubordinatedOU | BaseProcess,
    x: ArrayLike,
    t: float,
    *,
    initial: ArrayLike | str,
    initial_covariance: ArrayLike = 0.0,
    direction: ArrayLike | None = None,
) -> FloatArray:
    r"""Return the density of the state, or of one direction of it, at a time.

    .. math::
        p(x, t) = \int_0^\infty M_\alpha(u)\,
                  \mathcal{N}\bigl(x;\, \mu(\theta u),\, C(\theta u)\bigr)\, du

    From a point the density of one direction has a cusp there at all times if ``alpha < 1``; that
    of a state in two dimensions or more is infinite there, and infinity is what is returned.

    Parameters
    ----------
    process : SubordinatedOU, OUProcess, DiagonalOU or LowRankOU
        Stable or not.
    x : (n,) or (n, d) array_like [x]
        Points: numbers along a direction or in one dimension, states otherwise.
    t : float [t]
        Positive.
    initial : (d,) array_like [x] or "stationary"
        Mean at time 0, or the stationary law.
    initial_covariance : array_like [x^2]
        As ``initial_covariance`` of :func:`variance_along`.
    direction : (d,) array_like [1], optional
        The density is that of ``direction @ X``; of one coordinate with a unit vector.

    Returns
    -------
    (n,) float64 [1/x or x^-d]
        Relatively accurate in the tails too.

    Raises
    ------
    UnsupportedError
        If there is no density, or no bounded one: the start is a point and there is no noise along
        the direction, or the noise is singular.

    Notes
    -----
    In more than two dimensions a density of the state at ten thousand points takes seconds.

    Examples
    --------
    Free diffusion at ``alpha = 1/2``, at its cusp:

    >>> process = SubordinatedOU(base=OUProcess(drift=0.0, noise=2.0), alpha=0.5)
    >>> from math import gamma
    >>> bool(abs(density_at(process, [0.0], 1.0, initial=0.0)[0] - 0.5 / gamma(0.75)) < 1e-13)
    True
    """
    sub, when = _on_clock(process), real("t", t, low=0.0, remedy="at 0 it is the start")
    law = read_start(sub.base, initial, initial_covariance)
    if direction is None and sub.dimension > 1:
        return space_density(sub, finite_array("x", x, shape=(None, sub.dimension)), when, law)
    return marginal(sub, *_points(sub, x, direction), when, law, density=True)


def distribution_at(
    process: SubordinatedOU | BaseProcess,
    x: ArrayLike,
    t: float,
    *,
    initial: ArrayLike | str,
    initial_covariance: ArrayLike = 0.0,
    direction: ArrayLike | None = None,
) -> FloatArray:
    """Return the probability that the state lies below points, along a direction.

    Parameters
    ----------
    process : SubordinatedOU, OUProcess, DiagonalOU or LowRankOU
        Stable or not.
    x : (n,) array_like [x]
        Points.
    t : float [t]
        Positive.
    initial : (d,) array_like [x] or "stationary"
        Mean at time 0, or the stationary law.
    initial_covariance : array_like [x^2]
        As ``initial_covariance`` of :func:`variance_along`.
    direction : (d,) array_like [1], optional
        ``P(direction @ X <= x)``; needed in more than one dimension.

    Returns
    -------
    (n,) float64 [1]
        Relatively accurate where it is small; for upper tails turn the direction round.

    Raises
    ------
    InputError
        If the process has several dimensions and no direction is given.
    UnsupportedError
        If nothing is random at a fixed operational time.

    Examples
    --------
    >>> process = SubordinatedOU(base=OUProcess(drift=1.0, noise=2.0), alpha=0.5)
    >>> distribution_at(process, [0.0], 1.0, initial=0.0).round(12)
    array([0.5])
    """
    sub, when = _on_clock(process), real("t", t, low=0.0, remedy="at 0 it is the start")
    law = read_start(sub.base, initial, initial_covariance)
    if direction is None and sub.dimension > 1:
        msg = (
            f"`direction` must say which combination of the {sub.dimension} coordinates is meant; "
            "pass a vector of that length"
        )
        raise InputError(msg)
    return marginal(sub, *_points(sub, x, direction), when, law, density=False)


def sample_at(
    process: SubordinatedOU | BaseProcess,
    t: float,
    size: int,
    rng: RandomState,
    *,
    start: ArrayLike | str,
    backend: str = "auto",
) -> FloatArray:
    """Draw independent states at one time, exactly.

    Parameters
    ----------
    process : SubordinatedOU, OUProcess, DiagonalOU or LowRankOU
        Stable or not.
    t : float [t]
        Not negative.
    size : int
        How many.
    rng : int, SeedSequence or Generator
        The seed; a generator is drawn from.
    start : (d,) or (size, d) array_like [x], or "stationary"
        State at time 0.
    backend : str
        Engine of the normals: ``"auto"``, ``"numba"`` or ``"numpy"``.

    Returns
    -------
    (size, d) float64 [x]
        The first ones do not depend on ``size``.

    References
    ----------
    [Kanter1975]_ for the clock.

    Examples
    --------
    >>> base = OUProcess(drift=[[1.0]], noise=[[2.0]])
    >>> draws = sample_at(SubordinatedOU(base=base, alpha=0.6), 2.0, 1000, rng=1, start=0.0)
    >>> draws.shape
    (1000, 1)
    """
    sub = _on_clock(process)
    when = real("t", t, low=0.0, closed="low")
    size = integer("size", size, low=1)
    engine, key = require(backend)[1], seed_key(rng, "rng")
    steps = random_gap(sub.base)
    state = start_states(sub.base, start, size, engine, key)
    inner = steps.advance(
        steps.inward(state), clock_at(sub, when, size, key), normals_of(engine, size, 0, key)
    )
    return np.asarray(steps.outward(inner) + sub.base.mean)


def _on_clock(process: Any) -> SubordinatedOU:
    # A plain process is one on the ordinary clock.
    if isinstance(process, SubordinatedOU):
        return process
    if isinstance(process, (OUProcess, DiagonalOU, LowRankOU)):
        return SubordinatedOU(base=process, alpha=1.0)
    msg = (
        "`process` must be a SubordinatedOU or its base (OUProcess, DiagonalOU, LowRankOU), got "
        f"{type(process).__name__}; for another drift use FractionalFokkerPlanck with `solve`"
    )
    raise InputError(msg)


def _not_negative(name: str, value: ArrayLike) -> FloatArray:
    times = finite_array(name, value)
    if np.any(times < 0.0):
        msg = f"`{name}` must not be negative, got {times.min():g}; the clock starts at time 0"
        raise OutOfRangeError(msg)
    return times


def _times(value: ArrayLike) -> FloatArray:
    times = _not_negative("times", value)
    if times.ndim > 1:
        msg = f"`times` must be a number or a vector, got shape {times.shape}"
        raise ShapeError(msg)
    return times.reshape(-1)


def _points(
    sub: SubordinatedOU, x: ArrayLike, direction: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    points = finite_array("x", x, ndim=(0, 1)).reshape(-1)
    given = np.ones(1) if direction is None else direction
    return points, finite_array("direction", given, shape=(sub.dimension,))
