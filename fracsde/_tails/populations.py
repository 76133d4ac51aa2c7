r"""Growth of moments of products of random matrices, by populations of vectors.

.. math::
    \Lambda(s) = \lim_{k\to\infty} \frac1k \log \mathbb E\,\|M_k \cdots M_1 v\|^s .

A population of unit vectors is multiplied by independent matrices; each is replaced by as many
copies as its weight :math:`\|M v\|^s` asks for (systematic resampling), and the mean weights of
the steps are multiplied.  That product is an unbiased estimate of the moment whatever the size of
the population; its logarithm ``Z`` is not.  From ``n`` blocks of ``T`` steps, those of ``R``
independent populations,

.. math::
    \hat\Lambda = \frac{\bar Z}{T} + \frac V2, \qquad V = \frac{\operatorname{Var} Z}{T}, \qquad
    \mathrm{se}^2 = \frac{V}{n T} + \frac{V^2}{2 (n - 1)},

to second order in the spread of ``Z``; what is left out is of order :math:`V^2`.
The derivative :math:`\Lambda'(s)` is the mean of :math:`\log\|M v\|` along the ancestry of the
last population.  At ``s = 0`` no vector is replaced, and that mean is the top Lyapunov exponent.

Populations lie side by side in one array (population, vector, coordinate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray

    Step = Callable[[np.random.Generator, FloatArray, float], tuple[FloatArray, FloatArray | float]]

__all__ = ["Growth", "Population", "growth"]

_BLOCKS = 10  # stretches that a run is cut into, longer than its memory


class Population(NamedTuple):
    """How many vectors take how many steps."""

    replicas: int
    vectors: int
    steps: int
    settling: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Growth:
    """The growth rate of one moment.

    Parameters
    ----------
    rate, stderr : float [1/step]
        ``Lambda(s)`` and its standard error.
    spread : float [1/step]
        ``V``, the variance of a step's logarithm.
    slope, slope_stderr : float [1/step]
        ``Lambda'(s)`` and its standard error.
    effective : float [1]
        Mean over steps of the number of vectors that carry the weight of a population.
    settled : float [1]
        Growth of the second half less that of the first, in its standard errors.
    """

    rate: float
    stderr: float
    spread: float
    slope: float
    slope_stderr: float
    effective: float
    settled: float


def growth(
    step: Step,
    dimension: int,
    s: float,
    rng: np.random.Generator,
    size: Population,
    watch: Callable[[], None] | None = None,
) -> Growth:
    """Estimate the growth rate of the moment of order ``s``.

    Parameters
    ----------
    step : callable
        ``step(rng, vectors, s)`` multiplies each row of ``(n, dimension)`` by a matrix of its own,
        and returns with the products the logarithms of how likely the matrices were against how
        they were drawn: zero, or ``(n,)`` for matrices drawn with an eye to the moment.
    dimension : int
        Length of the vectors.
    s : float [1]
        Order of the moment, not negative.
    rng : Generator
        Random numbers.
    size : Population
        Numbers of populations, vectors and steps.
    watch : callable, optional
        Called after every step.

    Returns
    -------
    Growth
    """
    shape = (size.replicas, size.vectors)
    vectors = rng.standard_normal((*shape, dimension))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    gains, effective = np.zeros((size.replicas, size.steps)), 0.0
    ancestry = np.zeros(shape)
    for k in range(-size.settling, size.steps):
        moved, tilt = step(rng, vectors.reshape(-1, dimension), s)
        vectors = moved.reshape(*shape, dimension)
        norm = np.maximum(np.linalg.norm(vectors, axis=-1), np.finfo(np.float64).tiny)
        log_norm = np.log(norm)
        vectors /= norm[..., None]
        if k == 0:
            ancestry[:] = 0.0
        ancestry += log_norm
        gain = log_norm.mean(axis=1)
        if s > 0.0:
            exponent = s * log_norm + np.reshape(tilt, shape if np.ndim(tilt) else ())
            top = exponent.max(axis=1, keepdims=True)
            weight = np.exp(exponent - top)
            mean = weight.mean(axis=1)
            gain = np.log(mean) + top[:, 0]
            effective += float(np.mean(mean**2 / np.square(weight).mean(axis=1))) * (k >= 0)
            chosen = _systematic(weight, rng)
            vectors = vectors.reshape(-1, dimension)[chosen].reshape(*shape, dimension)
            ancestry = ancestry.ravel()[chosen].reshape(shape)
        if k >= 0:
            gains[:, k] = gain
        if watch is not None:
            watch()
    effective = size.vectors * (effective / size.steps if s > 0.0 else 1.0)
    return _summary(gains, ancestry.mean(axis=1) / size.steps, s, effective)


def _summary(gains: FloatArray, along: FloatArray, s: float, effective: float) -> Growth:
    replicas, steps = gains.shape
    length = max(1, steps // _BLOCKS)
    blocks = gains[:, : length * (steps // length)].reshape(replicas, -1, length).sum(axis=2)
    spread = float(blocks.var(ddof=1)) / length
    noise = spread / gains.size + (0.5 * spread**2 / (blocks.size - 1) if s > 0.0 else 0.0)
    half = blocks.shape[1] // 2
    drift = (blocks[:, half:].mean(axis=1) - blocks[:, :half].mean(axis=1)) / length
    error = float(drift.std(ddof=1) / np.sqrt(replicas))
    return Growth(
        rate=float(gains.mean()) + (0.5 * spread if s > 0.0 else 0.0),
        stderr=float(np.sqrt(noise)),
        spread=spread,
        slope=float(along.mean()),
        slope_stderr=float(along.std(ddof=1) / np.sqrt(replicas)),
        effective=effective,
        settled=float(drift.mean()) / error if error > 0.0 else 0.0,
    )


def _systematic(weight: FloatArray, rng: np.random.Generator) -> IntArray:
    # Flat places of the survivors: population r owns the stretch [r, r + 1) of one long line.
    replicas, vectors = weight.shape
    edges = np.cumsum(weight, axis=1)
    edges /= edges[:, -1:]
    start = np.arange(replicas)[:, None]
    wanted = start + (np.arange(vectors) + rng.random((replicas, 1))) / vectors
    chosen = np.searchsorted((edges + start).ravel(), wanted.ravel(), side="right")
    own = np.repeat(start[:, 0] * vectors, vectors)
    return np.asarray(np.clip(chosen, own, own + vectors - 1), dtype=np.int64)
