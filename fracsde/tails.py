r"""How heavy the tails of SGD's stationary law are.

Where the noise depends on the state, the recursion is :math:`x' = M x + q` with a random
multiplier.  It has a stationary law when the top Lyapunov exponent of the products
:math:`M_k \cdots M_1` is negative, and then, for noise ``q`` that does not vanish at the stationary
point [Kesten1973]_,

.. math::
    \Pr(|x| > t) \sim \mathrm{const}\; t^{-\alpha}, \qquad h(\alpha) = 1, \qquad
    h(s) = \lim_{k\to\infty} \bigl(\mathbb E\,\|M_k \cdots M_1\|^s\bigr)^{1/k} .

Moments of order below :math:`\alpha` are finite, others are not.  With :math:`\|M\| \le 1` always,
all are.  Where :math:`\log\|M\|` lives on a lattice the constant is replaced by a function periodic
in :math:`\log t`; the moments do not notice.  Where ``q`` vanishes, as for data that are
interpolated, the law is a point, and the index says which moments of a deviation from it decay.

=================================  ====================================================
problem                            route, error
=================================  ====================================================
one number, Gaussian inputs        quadrature [1-D], about 1e-12
isotropic Gaussian inputs          quadrature [2-D], about 1e-12: :math:`h = E|M e_1|^s`
one number, few batches or values  all of them enumerated, rounding
one number, otherwise              :math:`2^{20}` samples, interval of stated confidence
any matrices, momentum             populations of vectors, interval of stated confidence
=================================  ====================================================

Not here: the tail of a measured run, :mod:`fracsde.estimators.tail_index`.

References: [Kesten1973]_, [Gurbuzbalaban2021]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import integer, real
from fracsde._tails.populations import Population
from fracsde._tails.routes import Effort, multiplier_index, sgd_index
from fracsde.errors import ComputationError, InputError, UnstableError
from fracsde.problems.multipliers import RandomMultiplier
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.provenance import Provenance, provenance
from fracsde.records.measurement import Prediction, Quantity
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import RandomState

__all__ = ["TailIndex", "tail_index"]

_REPLICAS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class TailIndex:
    """Tail index of a stationary law.

    Parameters
    ----------
    index : float [1]
        ``alpha``: moments of lower order are finite.  Infinite if all are; NaN if there is no
        stationary law or the root was not found.
    interval : (float, float) [1]
        Where it lies: error bounds of a quadrature, or an interval of the stated confidence.
    confidence : float [1]
        Of the interval; 1 where nothing was sampled.
    lyapunov_exponent, lyapunov_error : float [1/step]
        Top Lyapunov exponent, negative where there is a stationary law, and its error (half the
        interval of the same confidence).
    status : Status
        The outcome.
    method : {"quadrature", "enumeration", "sampling", "populations"}
        How it was found.
    detail : str
        What to know about it; empty on success.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Kesten1973",)

    index: float
    interval: tuple[float, float]
    confidence: float
    lyapunov_exponent: float
    lyapunov_error: float
    status: Status
    method: str
    detail: str
    provenance: Provenance

    @property
    def error(self) -> float:
        """Larger distance from ``index`` to an end of ``interval`` [1]; zero if it is infinite."""
        if not np.isfinite(self.index):
            return 0.0 if self.interval[0] == self.index else float("nan")
        return max(self.index - self.interval[0], self.interval[1] - self.index)

    def prediction(self, quantity: Quantity | None = None) -> Prediction:
        """Return the index as a prediction, to compare with a measured one.

        Parameters
        ----------
        quantity : Quantity, optional
            Its name, ``"tail index"`` if not given.

        Returns
        -------
        Prediction

        Raises
        ------
        InputError
            If the index is not finite.
        """
        if not np.isfinite(self.index):
            msg = f"a tail index of {self.index} cannot be compared; look at `status` and `detail`"
            raise InputError(msg)
        name = quantity or Quantity(name="tail index")
        return Prediction(
            quantity=name,
            value=np.array(self.index),
            numerical_error=np.array(self.error),
            theory="Kesten's equation",
        )


def tail_index(
    problem: QuadraticLossSGD | RandomMultiplier,
    *,
    rng: RandomState = 0,
    confidence: float = 0.99,
    vectors: int = 512,
    steps: int = 400,
    progress: Callable[[int], None] | None = None,
    throw: bool = True,
) -> TailIndex:
    """Compute the tail index of the stationary law of SGD or of a random recursion.

    Parameters
    ----------
    problem : LeastSquaresSGD, GaussianLeastSquaresSGD, QuadraticSGD or RandomMultiplier
        The recursion.
    rng : int, SeedSequence or Generator
        Random numbers of the sampled routes.
    confidence : float [1]
        Of the interval of a sampled route, in (0, 1).
    vectors, steps : int
        Vectors of each of 16 populations, and steps they take, where matrices do not commute;
        the error falls like the root of their product.
    progress : callable, optional
        Called as ``progress(steps_done)`` while populations move; the number needed is not known
        in advance.
    throw : bool
        Whether to raise where there is no stationary law, or the result cannot be relied on.

    Returns
    -------
    TailIndex

    Raises
    ------
    InputError
        If the problem is of another kind, or there is no such seed.
    UnsupportedError
        If epochs are shuffled, or no example moves a weight.
    UnstableError
        If the top Lyapunov exponent is not negative, so that there is no stationary law.
    ComputationError
        If no root could be resolved, or its error is not known.

    Notes
    -----
    The price of the quadrature grows with the index; an index that takes more than four million
    nodes, some hundreds for vectors and some millions for one weight, is only bounded from below.
    A sampled route checks itself: how many samples carry the moment, and whether populations have
    settled.  ``tests/test_tails.py`` holds every route to a second one.

    References
    ----------
    [Kesten1973]_, [Gurbuzbalaban2021]_

    Examples
    --------
    With batches of two the index of one weight is exactly 2 at ``eta a = 1``:

    >>> from fracsde.problems.least_squares import GaussianLeastSquaresSGD
    >>> sgd = GaussianLeastSquaresSGD(
    ...     covariance=[[1.0]], label_noise=1.0, learning_rate=1.0, batch_size=2
    ... )
    >>> round(tail_index(sgd).index, 10)
    2.0

    A multiplier of 2 or 1/4 with equal chances: ``2^s + 4^-s = 2`` at the golden ratio's logarithm.

    >>> found = tail_index(RandomMultiplier(values=[2.0, 0.25]))
    >>> bool(abs(found.index - np.log2((1 + 5**0.5) / 2)) < 1e-14)
    True
    """
    level = real("confidence", confidence, low=0.0, high=1.0)
    size = Population(
        replicas=_REPLICAS,
        vectors=integer("vectors", vectors, low=2),
        steps=integer("steps", steps, low=8),
        settling=max(1, steps // 4),
    )
    effort = Effort(rng=_generator(rng), confidence=level, size=size, watch=_counter(progress))
    if isinstance(problem, QuadraticLossSGD):
        method, found = sgd_index(problem, effort)
    elif isinstance(problem, RandomMultiplier):
        method, found = multiplier_index(problem, effort)
    else:
        kind = type(problem).__name__  # type: ignore[unreachable]  # callers need not check types
        msg = (
            "`problem` must be SGD on quadratic losses, as LeastSquaresSGD and QuadraticSGD are, "
            f"or a RandomMultiplier, got {kind}; noise that does not depend on the state makes "
            "no tails of its own"
        )
        raise InputError(msg)
    if throw and found.status in {Status.UNSTABLE, Status.MARGINAL}:
        msg = f"{found.status.sentence} {found.detail}"
        raise UnstableError(msg)
    if throw and not found.status.ok:
        raise ComputationError(found.status, found.detail)
    sampled = method in {"sampling", "populations"}
    seed = rng if isinstance(rng, int) else type(rng).__name__
    return TailIndex(
        index=found.index,
        interval=found.interval,
        confidence=level if sampled else 1.0,
        lyapunov_exponent=found.lyapunov,
        lyapunov_error=found.lyapunov_error,
        status=found.status,
        method=method,
        detail=found.detail,
        provenance=provenance(problem, level, *size, seed=seed if sampled else ""),
    )


def _generator(rng: RandomState) -> np.random.Generator:
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        msg = f"`rng` must be a whole number, a SeedSequence or a Generator, got {rng!r}"
        raise InputError(msg) from error


def _counter(progress: Callable[[int], None] | None) -> Callable[[], None] | None:
    if progress is None:
        return None
    if not callable(progress):
        msg = f"`progress` must be callable, got {progress!r}"  # type: ignore[unreachable]
        raise InputError(msg)
    done = 0

    def watch() -> None:
        nonlocal done
        done += 1
        progress(done)

    return watch
