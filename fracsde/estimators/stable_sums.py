r"""The index of a stable law of vectors, from how norms of sums grow.

For vectors ``X`` of a law symmetric and strictly stable of index
:math:`\alpha`, a sum ``Y`` of ``m`` of them has the law of :math:`m^{1/\alpha} X`, so

.. math::
    \frac{1}{\alpha} = \frac{\mathbb E \log\|Y\| - \mathbb E \log\|X\|}{\log m}

in any norm and any dimension [Mohammadi2015]_.  Norms of whole vectors must be taken: pooling
coordinates of different scale turns Gaussian noise into a mixture that looks heavy-tailed
(1.43 instead of 2 in ``tests/published/test_simsekli_2019.py``), so no such version is offered.

Not here: the tail of a stationary run, whose draws are correlated,
:mod:`fracsde.estimators.tail_index`.

References: [Mohammadi2015]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import integer, vector
from fracsde.errors import RecordError
from fracsde.estimators.chains import as_trajectory, measured, named

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike
    from fracsde.records.measurement import Measurement, Quantity
    from fracsde.records.trajectory import Trajectory

__all__ = ["vector_tail_index"]

_TINY = float(np.finfo(np.float64).tiny)
_FEWEST = 20  # sums below which an index has no usable error


def vector_tail_index(
    increments: Trajectory | ArrayLike,
    *,
    block: int = 10,
    about: ArrayLike | None = None,
    quantity: Quantity | None = None,
) -> Measurement:
    """Measure the stable index of independent vectors from the norms of their sums.

    For noise as it is drawn, batch gradients at one point say: draws must be independent, or
    sums do not scale as the law's.  The estimate is the index of a law only where that law is
    strictly stable; a finite variance gives 2 in the limit of large blocks, not before.

    Parameters
    ----------
    increments : Trajectory or (chain, draw, coordinate) array_like [x]
        One vector per draw; whole norms are taken, so that coordinates may differ in scale.
    block : int
        ``m``, vectors per sum, at least 2.
    about : (coordinate,) array_like or float, optional [x]
        Subtracted from every vector.  If not given, neighbouring draws are subtracted from each
        other, which symmetrises the law and removes any location at the price of half the data.
    quantity : Quantity, optional
        Name of the result, ``"tail index"`` if not given.

    Returns
    -------
    Measurement

    Raises
    ------
    RecordError
        If there are too few blocks, or a vector or a sum vanishes.

    References
    ----------
    [Mohammadi2015]_

    Examples
    --------
    >>> scales = np.exp(np.linspace(-2, 2, 50))
    >>> noise = scales * np.random.default_rng(1).standard_normal((1, 20_000, 50))
    >>> m = vector_tail_index(noise)
    >>> bool(abs(m.value[0] - 2.0) < 4 * m.stderr[0])
    True
    """
    run = as_trajectory(increments)
    size = integer("block", block, low=2)
    # The index is blind to the scale, and squares must not overflow.
    x = run.values / max(float(np.abs(run.values).max(initial=0.0)), _TINY)
    if about is None:
        pairs = run.draws // 2
        x = x[:, 0 : 2 * pairs : 2] - x[:, 1 : 2 * pairs : 2]
    else:
        scale = max(float(np.abs(run.values).max(initial=0.0)), _TINY)
        x = x - vector("about", about, length=run.dimension) / scale
    blocks = x.shape[1] // size
    if run.chains * blocks < _FEWEST:
        msg = (
            f"{run.chains * blocks} sums of {size} vectors are too few for an index with an error, "
            f"{_FEWEST} are needed; record more draws or take a smaller `block`"
        )
        raise RecordError(msg)
    x = x[:, : blocks * size].reshape(run.chains, blocks, size, run.dimension)
    single = np.linalg.norm(x, axis=-1)
    summed = np.linalg.norm(x.sum(axis=2), axis=-1)
    if not (single.min() > 0.0 and summed.min() > 0.0):
        msg = (
            "a vector, a difference of neighbours or a sum has length zero and no logarithm; drop "
            "repeated draws, or pass `about` for noise that vanishes at times"
        )
        raise RecordError(msg)
    growth = (np.log(summed) - np.log(single).mean(axis=2)) / np.log(size)
    inverse = float(growth.mean())
    # Blocks share no vector, so that they are as independent as the draws are.
    spread = float(growth.std(ddof=1)) / np.sqrt(growth.size)
    if not inverse > 3.0 * spread:
        msg = (
            f"norms of sums do not grow with their length: 1/alpha is {inverse:.3g} with an error "
            f"of {spread:.2g}; the draws are anticorrelated or too few"
        )
        raise RecordError(msg)
    label = named(quantity, "tail index", "1", ("",))
    value, stderr = np.array(1.0 / inverse), np.array(spread / inverse**2)
    method = f"norms of sums of {size} vectors"
    return measured(label, value, stderr, float(growth.size), method)
