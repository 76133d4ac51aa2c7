r"""Total stationary variance and loss: ``Tr Sigma``, ``Tr K Sigma``, ``Tr H Sigma``.

.. math::
    \operatorname{Tr}\Sigma = \operatorname{Tr} g(K)\,N, \qquad
    \operatorname{Tr} K\Sigma = \operatorname{Tr} K g(K)\,N ,

whether or not curvature and noise commute (:mod:`fracsde.lyapunov.gains`): no matrix equation is
solved.  The excess loss at stationarity is :math:`\tfrac12\operatorname{Tr} K\Sigma`; in a flow it
is :math:`\tfrac14\operatorname{Tr} N` exactly, with ``N`` per unit of time, and costs no product.

Noise given by a factor is summed column by column, from above and below by quadrature: no chance
is involved.  Anything else is probed (Hutchinson): with random signs ``z``,

.. math::
    \operatorname{Tr} f(K)\operatorname{diag}\delta = \mathrm{E}\,b^T f(K)\,b,
    \quad b = \delta^{1/2} z, \qquad
    \operatorname{Tr} f(K) N = \mathrm{E}\,z^T f(K) N z ,

the second by polarisation from forms of :math:`sz \pm Nz/s`.  The interval is Student's, for a
number of independent probes that is fixed beforehand, corrected for their skewness
(:mod:`fracsde.stationary_large._skewed`) and widened by the mean numerical error.  Of 99 %
intervals from the default 64 probes 99.0 % hold the trace even where a single direction rules it;
from 16 probes 98.4 %.

References: [Hutchinson1990]_ for the estimator, [GolubMeurant2010]_ for the quadrature, [Hall1992]_
for the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, integer, real
from fracsde.errors import InputError, OutOfRangeError
from fracsde.lyapunov.gains import WEIGHTS, Forms, forms
from fracsde.lyapunov.isotropic import Split, closed_form
from fracsde.lyapunov.symmetric_law import SymmetricLaw, symmetric_law
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.products import LowRankPlusDiagonal
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.provenance import Provenance, provenance
from fracsde.stationary_large._common import as_matrix_free, finished, missed, silent
from fracsde.stationary_large._skewed import check_samples, mean_interval
from fracsde.stationary_large.whole import whole_trace
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, RandomState
    from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
    from fracsde.stationary_large._common import Watch

    Process = MatrixFreeSGD | MatrixFreeOU | SGDNearMinimum | OUProcess | DiagonalOU | LowRankOU

__all__ = ["StationaryTrace", "stationary_trace"]

_PER_COLUMN = 6  # vectors that the recurrence holds for each column


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryTrace:
    """A trace of the stationary covariance.

    Parameters
    ----------
    value : float
        The trace [x^2], or [loss] with a curvature in it.
    error_bound : float
        Bound on the numerical error.
    standard_error : float
        Of the probes; 0 where none was needed.
    interval : (float, float)
        Holds the trace with the stated confidence; certainly where there are no probes.
    confidence : float [1]
        What was asked for.
    probes : int
        Random vectors; 0 where none was needed.
    certain : bool
        Whether ``error_bound`` is proven, see
        :class:`~fracsde.stationary_large.StationaryVariance`.
    status : Status
        ``NOT_CONVERGED`` where the numerical bound is larger than was asked for; it still holds.
    detail : str
        What was missed; empty on success.
    method : {"closed_form", "quadrature", "dense"}
        What was used.
    products : int
        Products with the curvature.
    held_bytes : int
        Memory that the solve held, beside inputs and products.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Hutchinson1990", "GolubMeurant2010", "Hall1992")

    value: float
    error_bound: float
    standard_error: float
    interval: tuple[float, float]
    confidence: float
    probes: int
    certain: bool
    status: Status
    detail: str
    method: str
    products: int
    held_bytes: int
    provenance: Provenance


def stationary_trace(
    process: Process,
    weight: str = "identity",
    *,
    rtol: float = 1e-6,
    samples: int = 64,
    confidence: float = 0.99,
    rng: RandomState | None = None,
    memory: float = 2e9,
    max_products: int = 5000,
    progress: Watch | None = None,
    throw: bool = True,
) -> StationaryTrace:
    """Compute the total stationary variance, or the one weighted with the curvature.

    Parameters
    ----------
    process : MatrixFreeSGD, MatrixFreeOU, DiagonalOU, LowRankOU, SGDNearMinimum or OUProcess
        SGD stands for its map.
    weight : {"identity", "curvature", "hessian"}
        ``Tr Sigma``; ``Tr K Sigma`` with the weight decay in ``K``, twice the excess loss; or
        ``Tr H Sigma`` without it.  Of a process it is the drift that stands for the curvature.
    rtol : float [1]
        Accuracy of the numerics, relative to the trace.
    samples : int
        Random vectors where the noise is not a factor; at least 8 for a confidence of 99 %, and
        one more for every halving of what is left to chance.
    confidence : float [1]
        Of ``interval``, below 1.
    rng : int, SeedSequence or Generator
        Needed where random vectors are.
    memory : float [byte]
        What the solve may hold, beside inputs and products; default 2 GB.
    max_products : int
        Products for each vector, at most.
    progress : callable, optional
        Called with the products made for the vectors at work, and their error bound over the
        accuracy that is wanted.
    throw : bool
        Whether to raise where the bound stays above the accuracy.

    Returns
    -------
    StationaryTrace

    Raises
    ------
    UnstableError
        If the learning rate is beyond its limit, or noise reaches a flat direction.
    IndefiniteError
        If the Hessian has a negative eigenvalue.
    InputError
        If an argument does not fit, or ``rng`` is missing.
    OutOfRangeError
        If the memory or the number of samples is too small, or a number lies outside its range.
    ComputationError
        If the products do not suffice for the accuracy.

    Examples
    --------
    >>> from fracsde.problems.matrix_free import MatrixFreeSGD
    >>> sgd = MatrixFreeSGD(
    ...     hessian=lambda x: np.linspace(0.5, 1.0, 10_000) * x,
    ...     gradient_noise=LowRankPlusDiagonal(factor=np.ones((10_000, 1)) / 100.0),
    ...     learning_rate=0.2, batch_size=10)
    >>> loss = stationary_trace(sgd, "curvature")
    >>> round(loss.value, 8), loss.probes
    (0.01081344, 0)
    """
    choice("weight", weight, WEIGHTS)
    rtol = real("rtol", rtol, low=0.0, high=1.0)
    integer("samples", samples, low=2)
    integer("max_products", max_products, low=1)
    confidence = real("confidence", confidence, low=0.0, high=1.0)
    if isinstance(process, (DiagonalOU, LowRankOU, SGDNearMinimum, OUProcess)):
        value, error, held = whole_trace(process, weight)
        method = "dense" if isinstance(process, (SGDNearMinimum, OUProcess)) else "closed_form"
        return _exact(process, value, error, confidence, method, held)
    process = as_matrix_free(process, ", a DiagonalOU, LowRankOU, SGDNearMinimum or OUProcess")
    law = symmetric_law(process)
    if law.noise_norm == 0.0:
        return _exact(process, 0.0, 0.0, confidence, "closed_form", 0)
    split = closed_form(law)
    if split is not None:
        value, error = _of_split(law, split, weight)
        return _exact(process, value, error, confidence, "closed_form", split.held_bytes)
    wide = int(real("memory", memory, low=0.0) // (8 * _PER_COLUMN * process.dimension))
    if wide < 2:
        msg = (
            f"`memory` must be at least {96.0 * process.dimension:.3g} bytes for dimension "
            f"{process.dimension}, got {memory:.3g}"
        )
        raise OutOfRangeError(msg)
    job = _Job(
        law=law,
        weight=weight,
        rtol=rtol,
        most=max_products,
        wide=min(wide, 64),
        watch=progress or silent,
    )
    exact = job.columns() if isinstance(law.N, LowRankPlusDiagonal) else None
    sampled = None
    if not isinstance(law.N, LowRankPlusDiagonal) or law.N.diagonal.any():
        if rng is None:
            msg = (
                "`rng` is needed where the noise is not a factor alone, got None: its trace is "
                "estimated from random vectors; pass a seed"
            )
            raise InputError(msg)
        check_samples(samples, confidence)
        sampled = job.probes(samples, np.random.default_rng(rng))
    return _collected(process, job, exact, sampled, confidence, throw=throw)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    # Everything that chunks of columns have in common.
    law: SymmetricLaw
    weight: str
    rtol: float
    most: int
    wide: int
    watch: Watch

    def forms(self, columns: FloatArray, signs: FloatArray | float = 1.0) -> Forms:
        return forms(
            self.law,
            columns,
            self.weight,
            rtol=self.rtol,
            most=self.most,
            watch=self.watch,
            signs=signs,
        )

    def columns(self) -> Forms:
        # All columns of a factor.
        N = self.law.N
        assert isinstance(N, LowRankPlusDiagonal)  # the caller looked
        scales = np.sqrt(N.weights)
        parts = [
            self.forms(N.factor[:, i : i + self.wide] * scales[i : i + self.wide])
            for i in range(0, len(scales), self.wide)
        ]
        return _joined(parts)

    def width(self, *, polar: bool) -> int:
        # Probes at once; polarisation makes two columns of each.
        return max(1, self.wide // 2 if polar else self.wide)

    def held(self, exact: Forms | None, sampled: Forms | None) -> int:
        # Columns at once, of those there were.
        polar = not isinstance(self.law.N, LowRankPlusDiagonal)
        columns = 0 if exact is None else min(self.wide, len(exact.values))
        if sampled is not None:
            probes = min(self.width(polar=polar), len(sampled.values))
            columns = max(columns, (2 if polar else 1) * probes)
        return columns

    def probes(self, count: int, rng: np.random.Generator) -> Forms:
        # One value per random vector: the diagonal's part, or the whole noise.
        N, d = self.law.N, self.law.A.dimension
        polar = not isinstance(N, LowRankPlusDiagonal)
        width = self.width(polar=polar)
        parts = []
        for first in range(0, count, width):
            z = rng.choice((-1.0, 1.0), size=(d, min(width, count - first)))
            if isinstance(N, LowRankPlusDiagonal):
                root = np.sqrt(np.broadcast_to(N.diagonal, d))
                parts.append(self.forms(root[:, None] * z))
                continue
            parts.append(self._polarised(z, N @ z))
        return _joined(parts)

    def _polarised(self, z: FloatArray, q: FloatArray) -> Forms:
        # q^T f z = [(sz + q/s)^T f (sz + q/s) - (sz - q/s)^T f (sz - q/s)] / 4.
        sizes = np.linalg.norm(q, axis=0) / np.linalg.norm(z, axis=0)
        s = np.sqrt(np.where(sizes > 0.0, sizes, 1.0))
        p = z.shape[1]
        signs = np.repeat([1.0, -1.0], p)
        found = self.forms(np.hstack([s * z + q / s, s * z - q / s]), signs)
        return Forms(
            values=0.25 * (found.values[:p] - found.values[p:]),
            errors=0.25 * (found.errors[:p] + found.errors[p:]),
            products=found.products,
        )


def _joined(parts: list[Forms]) -> Forms:
    return Forms(
        values=np.concatenate([part.values for part in parts] or [np.zeros(0)]),
        errors=np.concatenate([part.errors for part in parts] or [np.zeros(0)]),
        products=sum(part.products for part in parts),
    )


def _collected(
    process: MatrixFreeSGD | MatrixFreeOU,
    job: _Job,
    exact: Forms | None,
    sampled: Forms | None,
    confidence: float,
    *,
    throw: bool,
) -> StationaryTrace:
    value = error = spread = below = above = 0.0
    products, probes = job.law.products, 0
    if exact is not None:
        value += float(exact.values.sum())
        error += float(exact.errors.sum())
        products += exact.products
    if sampled is not None:
        middle, probes = sampled.values, len(sampled.values)
        value += float(middle.mean())
        error += float(sampled.errors.mean())
        spread = float(middle.std(ddof=1)) / probes**0.5
        low, high = mean_interval(middle, confidence)
        below, above = float(middle.mean()) - low, high - float(middle.mean())
        products += sampled.products
    good = error <= job.rtol * abs(value)
    return finished(
        StationaryTrace(
            value=value,
            error_bound=error,
            standard_error=spread,
            interval=(value - below - error, value + above + error),
            confidence=confidence,
            probes=probes,
            certain=job.law.certain or (job.weight == "curvature"),
            status=Status.SUCCESS if good else Status.NOT_CONVERGED,
            detail="" if good else missed(f"The bound {error:.3g} exceeds", job.rtol, job.law),
            method="quadrature",
            products=products,
            held_bytes=8 * _PER_COLUMN * process.dimension * job.held(exact, sampled),
            provenance=provenance(process, job.weight, job.rtol, probes),
        ),
        throw=throw,
    )


def _of_split(law: SymmetricLaw, split: Split, weight: str) -> tuple[float, float]:
    # The trace and what rounding adds: a curvature moves by rounding times the largest one.
    outside = law.A.dimension - len(split.covariance)
    total = float(np.trace(split.covariance)) + split.rest * outside
    inner = split.rounding * law.high * float(np.trace(split.covariance))
    lost = inner / split.lowest + split.rounding * total
    if weight == "identity":
        return total, lost
    assert isinstance(law.A, LowRankPlusDiagonal)  # or there would be no closed form
    loss = float(np.einsum("ij,ij->", split.inside, split.covariance))
    loss += float(law.A.diagonal) * split.rest * outside
    error = inner + split.rounding * loss
    if weight == "curvature":
        return loss, error
    return loss - law.decay * total, error + law.decay * lost


def _exact(
    process: Process, value: float, error: float, confidence: float, method: str, held: int
) -> StationaryTrace:
    return StationaryTrace(
        value=value,
        error_bound=error,
        standard_error=0.0,
        interval=(value - error, value + error),
        confidence=confidence,
        probes=0,
        certain=True,
        status=Status.SUCCESS,
        detail="",
        method=method,
        products=0,
        held_bytes=held,
        provenance=provenance(process),
    )
