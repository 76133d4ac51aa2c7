r"""Mittag-Leffler functions of sparse and banded operators from shifted solves.

Four ways to choose the shifts ``b`` of the systems :math:`(b - L) X = V`:

``poles``
    The spectrum is real and not positive, ``beta = 1``: the best rational form
    (:func:`fracsde.special.rational.relaxation_poles`), a few solves for each time.
``windows``
    The same and also spectra in a sector, many times: contours whose solves are shared
    (:func:`fracsde.special.contours.contour_windows`).
``hyperbola``
    Anything whose field of values lies in a wedge
    :math:`\{\lambda : |\arg(a - \lambda)| \le \gamma\}`, growing modes and every ``beta`` included:
    a contour for each time that passes the wedge's poles (:mod:`fracsde.special._hyperbola`).
    Its error is measured on the edge of the wedge; by [CrouzeixPalencia2017]_ the operator's is
    at most :math:`1 + \sqrt 2` times as large, however far from normal it is.

The wedge is proved, not guessed (:mod:`fracsde.special._wedge`).

Not here: Krylov spaces (:mod:`fracsde.special._krylov`), which serve where no wedge does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import OutOfRangeError
from fracsde.special._hyperbola import exponents, hyperbola, poles
from fracsde.special._matrix_dense import scalar_values
from fracsde.special._operator import euclidean
from fracsde.special._wedge import edge_of, wedges_of
from fracsde.special.contours import contour_windows
from fracsde.special.rational import relaxation_poles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray
    from fracsde.special._hyperbola import Hyperbola
    from fracsde.special._operator import Operator
    from fracsde.special._wedge import Wedge
    from fracsde.special.contours import Contour

__all__ = ["Plan", "ShiftedValues", "plan_shifts", "shifted_apply"]

_EPS = float(np.finfo(np.float64).eps)
_CROUZEIX_PALENCIA = 1.0 + np.sqrt(2.0)
_MOST_NODES = 120
_MANY = 8  # times from which shared contours are considered
_NEEDLESS = 3.0  # growth in a wedge beyond the least that a cheaper contour may cost
_ROUNDING_GOAL = 2e-15


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The shifts chosen for a set of times.

    Parameters
    ----------
    method : str
        ``poles``, ``windows`` or ``hyperbola``.
    wedges : tuple of Wedge
        Where the field of values is: one, or for ``hyperbola`` one for each time.
    windows : tuple of Contour
        For ``windows``.
    contours : tuple of Hyperbola
        For ``hyperbola``, one for each time.
    solves : int
        Shifted systems to be factorised.
    """

    method: str
    wedges: tuple[Wedge, ...]
    windows: tuple[Contour, ...] = ()
    contours: tuple[Hyperbola, ...] = ()
    solves: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftedValues:
    """Values at several times.

    Parameters
    ----------
    values : (t, n, k) ndarray
        One block per time.
    error, rounding : (t,) float64
        Bounds of the method's error and estimates of rounding, Frobenius norm.
    method : str
        Choice of shifts.
    solves : int
        Systems factorised.
    degree : int
        Most shifts that one time uses.
    """

    values: NDArray[Any]
    error: FloatArray
    rounding: FloatArray
    method: str
    solves: int
    degree: int


def plan_shifts(
    operator: Operator, times: FloatArray, alpha: float, beta: float, rtol: float
) -> Plan | None:
    """Choose shifts, or return ``None`` where no contour of 120 nodes serves.

    Parameters
    ----------
    operator : Operator
        Sparse or banded.
    times : (t,) float64 [t]
        Positive, increasing.
    alpha, beta : float [1]
        Parameters of the function.
    rtol : float [1]
        Error asked for.

    Returns
    -------
    Plan or None
    """
    wedges = wedges_of(operator)
    plans: list[Plan | None] = []
    if alpha <= 1.0 and beta == 1.0:
        safe = [wedge for wedge in wedges if wedge.apex <= 0.0]
        if operator.symmetric and safe:
            plans.append(_poles_plan(safe[0], alpha, len(times), rtol))
        if len(times) >= _MANY:
            plans += [_windows_plan(wedge, times, alpha, rtol) for wedge in safe]
    if not any(plans):
        plans.append(_hyperbola_plan(operator, wedges, times, alpha, rtol))
    served = [plan for plan in plans if plan is not None]
    return min(served, key=lambda plan: plan.solves) if served else None


def _poles_plan(wedge: Wedge, alpha: float, count: int, rtol: float) -> Plan | None:
    try:
        form = relaxation_poles(alpha, rtol=rtol)
    except OutOfRangeError:
        return None
    return Plan(method="poles", wedges=(wedge,), solves=count * form.solves)


def _windows_plan(wedge: Wedge, times: FloatArray, alpha: float, rtol: float) -> Plan | None:
    # A singularity at |arg s| = (pi - gamma) / alpha needs the contour to leave its sector free.
    free = np.pi - (np.pi - wedge.half_angle) / alpha
    if free > 0.4 * np.pi:
        return None
    goal = rtol if wedge.half_angle == 0.0 else 0.25 * alpha / _CROUZEIX_PALENCIA * rtol
    angle = 0.0 if free <= 0.0 else float(np.ceil(20.0 * free) / 20.0)
    try:
        windows = contour_windows(times[0], times[-1], rtol=goal, half_angle=angle)
    except OutOfRangeError:
        return None
    if not windows:
        return None
    solves = sum(len(window.nodes) for window in windows)
    return Plan(method="windows", wedges=(wedge,), windows=windows, solves=solves)


def _hyperbola_plan(
    operator: Operator, wedges: list[Wedge], times: FloatArray, alpha: float, rtol: float
) -> Plan | None:
    # For each time the wedge with the fewest nodes.  Narrow wedges that reach far to the right
    # have few, but their errors are relative to a growth that no mode has.
    edges = [edge_of(operator, wedge) for wedge in wedges]
    apexes = np.array([wedge.apex for wedge in wedges])
    chosen = []
    for t in times:
        growth = exponents(t**alpha * apexes, alpha)
        least = float(growth.min())
        goal = max(0.1 * rtol if least == 0.0 else 1e-3 * rtol, _ROUNDING_GOAL)
        found: list[tuple[Wedge, Hyperbola]] = []
        for k in np.flatnonzero(growth <= least + _NEEDLESS):
            contour = hyperbola(poles(t**alpha * edges[k], alpha), tolerance=goal, most=_MOST_NODES)
            if contour is not None:
                found.append((wedges[k], contour))
        if not found:
            return None
        chosen.append(min(found, key=lambda pair: pair[1].count))
    return Plan(
        method="hyperbola",
        wedges=tuple(wedge for wedge, _ in chosen),
        contours=tuple(contour for _, contour in chosen),
        solves=sum(contour.count for _, contour in chosen),
    )


def shifted_apply(
    operator: Operator,
    plan: Plan,
    V: NDArray[Any],
    times: FloatArray,
    alpha: float,
    beta: float,
    rtol: float,
) -> ShiftedValues:
    """Return functions of a sparse or banded operator times vectors.

    Parameters
    ----------
    operator : Operator
        Sparse or banded.
    plan : Plan
        From :func:`plan_shifts`.
    V : (n, k)
        Right-hand sides.
    times : (t,) float64 [t]
        Positive, increasing.
    alpha, beta : float [1]
        Parameters of the function.
    rtol : float [1]
        Error asked for.

    Returns
    -------
    ShiftedValues
    """
    # A real operator takes a complex vector as two real ones: one half plane serves both.
    split = operator.real and np.iscomplexobj(V)
    parts = np.hstack([V.real, V.imag]) if split else V
    kind = np.float64 if operator.real else np.complex128
    values = np.zeros((len(times), *parts.shape), dtype=kind)
    rounding = np.zeros(len(times))
    if plan.method == "windows":
        error = _sum_windows(operator, plan, parts, times, alpha, values, rounding)
    else:
        error = np.empty(len(times))
        for i, t in enumerate(times):
            theta = t**alpha
            if plan.method == "poles":
                form = relaxation_poles(alpha, rtol=rtol)
                # x - q with x = -theta L is theta (b - L) with b = -q / theta.
                terms = form.residues / theta, -form.poles / theta
                values[i] = form.constant * parts
                error[i], scale = form.error, 1.0
            else:
                contour = plan.contours[i]
                error[i], noise = _measured(operator, plan.wedges[i], contour, theta, alpha, beta)
                rounding[i] += noise * euclidean(V)
                a, b = contour.terms(alpha, beta)
                terms, scale = (a / theta, b / theta), float(np.exp(contour.right))
            for a_k, b_k in zip(*terms, strict=True):
                X, change = _half_sum(operator, a_k, b_k, parts)
                values[i] += scale * X
                rounding[i] += scale * change
    if split:
        values = values[..., : V.shape[1]] + 1j * values[..., V.shape[1] :]
    size = euclidean(V)
    return ShiftedValues(
        values=values,
        error=error * size,
        rounding=rounding + 4.0 * _EPS * size,
        method=plan.method,
        solves=plan.solves,
        degree=_degree(plan, len(times)),
    )


def _degree(plan: Plan, count: int) -> int:
    if plan.method == "windows":
        return max(len(window.nodes) for window in plan.windows)
    if plan.method == "hyperbola":
        return max(contour.count for contour in plan.contours)
    return plan.solves // count


def _half_sum(
    operator: Operator, a: complex, b: complex, V: NDArray[Any]
) -> tuple[NDArray[Any], float]:
    # Return Re a (b - L)^{-1} V, where "Re" pairs b with its conjugate if L is complex.
    X, change = operator.solver(b)(V)
    if operator.real:
        return (a * X).real, abs(a) * change
    Y, other = operator.solver(np.conj(b))(V)
    return 0.5 * (a * X + np.conj(a) * Y), 0.5 * abs(a) * (change + other)


def _sum_windows(
    operator: Operator,
    plan: Plan,
    V: NDArray[Any],
    times: FloatArray,
    alpha: float,
    values: NDArray[Any],
    rounding: FloatArray,
) -> FloatArray:
    # Add the windows' sums to `values`; one solve for each node, one product for all times.
    error = np.empty(len(times))
    taken = np.zeros(len(times), dtype=bool)
    factor = 1.0 if plan.wedges[0].half_angle == 0.0 else 4.0 / alpha * _CROUZEIX_PALENCIA
    for window in plan.windows:
        chosen = ~taken & (times <= window.window[1] * (1.0 + 1e-14))
        taken |= chosen
        error[chosen] = factor * window.error
        for s, w in zip(window.nodes, window.weights, strict=True):
            a = w * np.exp(s * times[chosen]) * s ** (alpha - 1.0)
            X, change = operator.solver(s**alpha)(V)
            rounding[chosen] += np.abs(a) * change
            if operator.real:
                values[chosen] += np.multiply.outer(a.real, X.real)
                values[chosen] -= np.multiply.outer(a.imag, X.imag)
                continue
            Y, _ = operator.solver(np.conj(s**alpha))(V)
            values[chosen] += 0.5 * np.multiply.outer(a, X)
            values[chosen] += 0.5 * np.multiply.outer(np.conj(a), Y)
    return error


def _measured(
    operator: Operator, wedge: Wedge, contour: Hyperbola, theta: float, alpha: float, beta: float
) -> tuple[float, float]:
    # Largest error of the scalar sum on the edge of the wedge, times the operator's factor, and
    # the part of it that is rounding of the exponents.
    z = theta * edge_of(operator, wedge)
    if wedge.half_angle == 0.0:
        z = z.real
    total = np.zeros(z.shape, dtype=np.complex128)
    for a, b in zip(*contour.terms(alpha, beta), strict=True):
        total += 0.5 * (a / (b - z) + np.conj(a) / (np.conj(b) - z))
    exact = scalar_values(z, alpha, beta)
    gap = float(np.abs(np.exp(contour.right) * total - exact).max())
    factor = 1.0 if wedge.half_angle == 0.0 else _CROUZEIX_PALENCIA
    noise = 4.0 * _EPS * (1.0 + contour.right / alpha) * float(np.abs(exact).max())
    return factor * max(gap - noise, 0.0), factor * noise
