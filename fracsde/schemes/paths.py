r"""Steps of sample paths: the normal law that carries a state over each gap of time.

A scheme turns a linear process and a set of gaps into

.. math::
    X' - m = E\,(X - m) + L z, \qquad z \sim N(0, I),

with :math:`E = e^{-Ah}` and :math:`L L^T = G(h)` for :class:`ExactOU`, whose paths have the exact
law at any gap, and :math:`E = (I - Ah)^n`, :math:`h = \texttt{gap}/n`, for ``n`` substeps of
:class:`EulerMaruyama`, which is of order 1 in the law.

Where one change of coordinates :math:`X - m = W y` makes drift and noise diagonal together, as
it does for every process with detailed balance and a regular noise, the steps are

.. math:: y_i' = \rho_i\,y_i + \sigma_i z_i

and a path costs one product with :math:`W` a draw in place of two products a step.  Where a map
carries a velocity, as SGD with momentum does, a step is

.. math:: u = M x + L z, \qquad x' = x + b v + r u, \qquad v' = \mu v + u

and works on half of the coordinates.

Not here: the loop over steps (:mod:`fracsde.backends`) and the choice of gaps
(:mod:`fracsde.simulate`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

import numpy as np

from fracsde._check import integer
from fracsde.lyapunov.propagators import composed, gap_law
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.schemes.decoupled import DecoupledSteps, decoupled

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.lyapunov.propagators import LinearProcess

__all__ = [
    "DecoupledSteps",
    "DenseSteps",
    "EulerMaruyama",
    "ExactOU",
    "MomentumSteps",
    "PathScheme",
    "Steps",
    "coupled_steps",
    "exact_steps",
    "noise_factor",
]

# Smallest pivot of a Cholesky factor, of 1, that rounding has not made.
_REGULAR = 1e-5


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseSteps:
    """One linear step for each gap.

    Parameters
    ----------
    transition : (g, d, d) float64 [1]
        ``E`` of each gap.
    factor : (g, d, r) float64 [x]
        ``L`` of each gap, with as many columns as the largest rank.
    """

    transition: FloatArray
    factor: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class MomentumSteps:
    """The step of a map whose state is a position beside a velocity, ``(x, v)``.

    Parameters
    ----------
    pull : (d, d) float64 [1]
        ``M``, which takes positions to velocities.
    factor : (d, r) float64 [x]
        ``L``.
    rule : (3,) float64 [1]
        ``b``, ``r`` and ``mu``.
    """

    pull: FloatArray
    factor: FloatArray
    rule: FloatArray


Steps: TypeAlias = DenseSteps | DecoupledSteps | MomentumSteps


class PathScheme(Protocol):
    """What :func:`fracsde.simulate` asks of a scheme for an Ornstein-Uhlenbeck process."""

    citation: ClassVar[tuple[str, ...]]

    def steps(self, process: OUProcess, gaps: FloatArray) -> Steps:
        """Return the step over each gap.

        Parameters
        ----------
        process : OUProcess
            The process.
        gaps : (g,) float64 [t]
            Positive.

        Returns
        -------
        DenseSteps or DecoupledSteps
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ExactOU:
    """The exact transition law: no error at any gap.

    Examples
    --------
    >>> step = ExactOU().steps(OUProcess(drift=[[1.0]], noise=[[2.0]]), np.array([np.log(2.0)]))
    >>> (step.decay**2 + step.scale**2).round(12)
    array([[1.]])
    """

    citation: ClassVar[tuple[str, ...]] = ("Gillespie1996", "VanLoan1978")

    def steps(self, process: OUProcess, gaps: FloatArray) -> Steps:
        """Return the step over each gap.

        Parameters
        ----------
        process : OUProcess
            The process.
        gaps : (g,) float64 [t]
            Positive.

        Returns
        -------
        DenseSteps or DecoupledSteps
        """
        return exact_steps(process, gaps)


@dataclass(frozen=True, kw_only=True)
class EulerMaruyama:
    """Equal Euler-Maruyama substeps within each gap: order 1 in the law, and a rival to beat.

    The substeps of a gap are drawn as one, from the law that they compose to.

    Parameters
    ----------
    substeps : int
        Substeps per gap, at least 1.
    """

    citation: ClassVar[tuple[str, ...]] = ("Maruyama1955",)

    substeps: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "substeps", integer("substeps", self.substeps, low=1))

    def steps(self, process: OUProcess, gaps: FloatArray) -> Steps:
        """Return the step over each gap.

        Parameters
        ----------
        process : OUProcess
            The process.
        gaps : (g,) float64 [t]
            Positive.

        Returns
        -------
        DenseSteps
        """
        laws = []
        for gap in gaps:
            h = float(gap) / self.substeps
            away = -h * process.drift
            once = (np.eye(process.dimension) + away, away, h * process.noise)
            laws.append(composed(once, self.substeps))
        return _stacked([(E, G) for E, _, G in laws])


def exact_steps(process: LinearProcess, gaps: FloatArray) -> Steps:
    """Return the exact step of a flow or a map over each gap.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        Stable or not.
    gaps : (g,) float64 [t, or steps]
        Positive.

    Returns
    -------
    DenseSteps, DecoupledSteps or MomentumSteps
        Decoupled wherever the process allows it; with momentum for single steps of such a map.
    """
    form = decoupled(process)
    return coupled_steps(process, gaps) if form is None else form.steps(gaps)


def coupled_steps(process: LinearProcess, gaps: FloatArray) -> DenseSteps | MomentumSteps:
    """Return the exact step over each gap, of all coordinates together.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        Stable or not.
    gaps : (g,) float64 [t, or steps]
        Positive.

    Returns
    -------
    DenseSteps or MomentumSteps
        With momentum for single steps of such a map.
    """
    steps = _with_velocity(process) if np.all(gaps == 1.0) else None
    if steps is not None:
        return steps
    law = gap_law(process)
    return _stacked([(E, G) for E, _, G in (law(float(gap)) for gap in gaps)])


def noise_factor(covariance: FloatArray) -> FloatArray:
    """Return ``L`` with ``L L^T`` equal to a covariance that may be singular.

    Parameters
    ----------
    covariance : (d, d) float64
        Symmetric positive semi-definite, to rounding.

    Returns
    -------
    (d, r) float64
        Triangular where the covariance is regular; otherwise one column per direction that
        varies, and at least one column.
    """
    # Scaled to unit diagonal first: small variances keep their digits beside large ones.
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    safe = np.where(deviation > 0.0, deviation, 1.0)
    scaled = covariance / np.multiply.outer(safe, safe)
    try:
        root = np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        root = np.zeros((1, 1))
    if float(np.diag(root).min()) > _REGULAR:
        return np.asarray(deviation[:, None] * root)
    values, vectors = np.linalg.eigh(scaled)
    keep = values > 4.0 * len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    keep[-1] = True
    roots = np.sqrt(np.maximum(values[keep], 0.0))
    return np.asarray(deviation[:, None] * vectors[:, keep] * roots)


def _stacked(laws: list[tuple[FloatArray, FloatArray]]) -> DenseSteps:
    factors = [noise_factor(G) for _, G in laws]
    rank = max(factor.shape[1] for factor in factors)
    padded = [np.pad(factor, ((0, 0), (0, rank - factor.shape[1]))) for factor in factors]
    return DenseSteps(transition=np.array([E for E, _ in laws]), factor=np.array(padded))


def _with_velocity(process: LinearProcess) -> MomentumSteps | None:
    # From the matrices alone, each entry of which must be that of such a step to its rounding.
    d = process.dimension // 2
    if isinstance(process, OUProcess) or process.dimension != 2 * d:
        return None
    (kept, carry), (M, keep) = _quarters(process.transition)
    (top, cross), (across, noise) = _quarters(process.noise)
    i = int(np.argmax(np.diag(noise)))
    if noise[i, i] <= 0.0:
        return None
    b, mu, one = carry[0, 0], keep[0, 0], np.eye(d)
    if not (np.array_equal(carry, b * one) and np.array_equal(keep, mu * one)):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        r = cross[i, i] / noise[i, i]
        pairs = ((cross, noise), (across, noise), (top, r * noise))
        same = all(_near(found, r * part, abs(r) * np.abs(part)) for found, part in pairs)
        same = same and _near(kept, one + r * M, one + abs(r) * np.abs(M))
    if not same:
        return None
    return MomentumSteps(pull=M, factor=noise_factor(noise), rule=np.array([b, r, mu]))


def _quarters(matrix: FloatArray) -> list[list[FloatArray]]:
    return [np.split(half, 2, axis=1) for half in np.split(matrix, 2, axis=0)]


def _near(found: FloatArray, wanted: FloatArray, size: FloatArray) -> bool:
    # Within the roundings of a few operations on numbers of this size.
    return bool(np.all(np.abs(found - wanted) <= 8.0 * np.finfo(np.float64).eps * size))
