"""The roads to a Mittag-Leffler function of an operator, and the ledger of what they cost.

Here a road is chosen, tried, and left for another where it does not reach the tolerance.  What the
roads are is told in :mod:`fracsde.special.matrix`.

Not here: validation and messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import InputError
from fracsde.special._hyperbola import LARGEST_EXPONENT, exponents
from fracsde.special._krylov import arnoldi_apply, growth_ahead, lanczos_apply
from fracsde.special._matrix_dense import dense_apply, factorise
from fracsde.special._operator import euclidean
from fracsde.special._shifted import plan_shifts, shifted_apply
from fracsde.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray
    from fracsde.special._operator import Operator

__all__ = ["ActionInfo", "Ledger", "close_ledger", "open_ledger", "overflowing", "travel"]

_SMALL = 64  # sparse operators no larger than this are made dense
_DENSE = 1500  # and up to this where no contour serves them


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionInfo:
    """How a value was computed and how far it is to be trusted.

    Parameters
    ----------
    status : Status
        Whether the method met its tolerance.
    method : str
        Road taken: ``eigenvectors``, ``contour``, ``schur-parlett``, ``poles``, ``windows``,
        ``hyperbola``, ``lanczos`` or ``arnoldi``; several are joined by ``+``.
    error_estimate : (t,) float64 [1]
        Estimated error, rounding included, relative to the larger of ``|v|`` and ``|value|``.
    rounding : (t,) float64 [1]
        The part of it that rounding causes.
    products : int
        Applications of the operator to a vector; those inside refined solves are not counted.
    solves : int
        Shifted systems factorised.
    degree : int
        Modes, nodes, poles, blocks or dimension of the Krylov space: the most that one time used.
    """

    status: Status
    method: str
    error_estimate: FloatArray
    rounding: FloatArray
    products: int
    solves: int
    degree: int


@dataclass(kw_only=True, eq=False)
class Ledger:
    """What the roads write into while they work; frozen into an :class:`ActionInfo` at the end."""

    values: NDArray[Any]
    truncation: FloatArray
    rounding: FloatArray
    methods: list[str]
    products: int = 0
    solves: int = 0
    degree: int = 0
    top: complex = 0.0


def open_ledger(L: Operator, V: NDArray[Any], times: FloatArray) -> Ledger:
    """Return an empty ledger for ``(n, k)`` vectors at ``(t,)`` times."""
    kind = np.float64 if L.real and not np.iscomplexobj(V) else np.complex128
    return Ledger(
        values=np.zeros((len(times), *V.shape), dtype=kind),
        truncation=np.zeros(len(times)),
        rounding=np.zeros(len(times)),
        methods=[],
    )


def travel(
    ledger: Ledger,
    L: Operator,
    V: NDArray[Any],
    times: FloatArray,
    alpha: float,
    beta: float,
    rtol: float,
    method: str,
) -> None:
    """Take the road that was asked for or choose one, and fill the ledger.

    Parameters
    ----------
    ledger : Ledger
        Written to, except where the time is 0.
    L : Operator
        The operator.
    V : (n, k)
        Vectors.
    times : (t,) float64 [t]
        Increasing.
    alpha, beta : float [1]
        Parameters of the function.
    rtol : float [1]
        Error asked for.
    method : str
        ``auto``, ``dense``, ``shifted`` or ``krylov``.

    Raises
    ------
    InputError
        If the road does not serve the operator.
    """
    if L.kind == "free":
        if method not in {"auto", "krylov"}:
            msg = (
                f"`method` = {method!r} needs the entries of the operator and a LinearOperator "
                "has none; pass a sparse or dense matrix, or leave `method` out"
            )
            raise InputError(msg)
        method = "krylov"
    if L.kind == "dense" and method == "shifted":
        msg = "`method` = 'shifted' is for sparse matrices; pass scipy.sparse.csc_array(operator)"
        raise InputError(msg)
    if method == "auto":
        method = "dense" if L.kind == "dense" or L.size <= _SMALL else "shifted?"
    if method.startswith("shifted"):
        served = _shifted(ledger, L, V, times, alpha, beta, rtol)
        if served and (method == "shifted" or close_ledger(ledger, V, rtol).status.ok):
            return
        if not served and method == "shifted":
            msg = (
                "`method` = 'shifted' finds no contour of 120 nodes round the field of values at "
                "these times; leave `method` out, and a Krylov space is tried"
            )
            raise InputError(msg)
        # Where the field of values is much larger than the spectrum, other roads may do better.
        _clear(ledger, times)
        method = "dense" if L.size <= _DENSE else "krylov"
    if method == "dense":
        _dense(ledger, L, V, times, alpha, beta)
    else:
        _krylov(ledger, L, V, times, alpha, beta, rtol)


def _clear(ledger: Ledger, times: FloatArray) -> None:
    # Forget a road that did not lead to the tolerance, but not what it cost.
    moving = times > 0.0
    ledger.values[moving] = 0.0
    ledger.truncation[moving] = ledger.rounding[moving] = 0.0
    ledger.methods.clear()
    ledger.degree = 0


def _shifted(
    ledger: Ledger,
    L: Operator,
    V: NDArray[Any],
    times: FloatArray,
    alpha: float,
    beta: float,
    rtol: float,
) -> bool:
    moving = times > 0.0
    plan = plan_shifts(L, times[moving], alpha, beta, rtol)
    if plan is None:
        return False
    found = shifted_apply(L, plan, V, times[moving], alpha, beta, rtol)
    ledger.values[moving] = found.values
    ledger.truncation[moving], ledger.rounding[moving] = found.error, found.rounding
    ledger.methods.append(found.method)
    ledger.solves, ledger.degree = found.solves, found.degree
    return True


def _dense(
    ledger: Ledger, L: Operator, V: NDArray[Any], times: FloatArray, alpha: float, beta: float
) -> None:
    A = L.matrix if L.kind == "dense" else L.matrix.toarray()
    form = factorise(A, symmetric=L.symmetric)
    for i, t in enumerate(times):
        if t == 0.0:
            continue
        top = overflowing(form.eigenvalues, float(t**alpha), alpha)
        if top is not None:
            ledger.values[i], ledger.top = np.nan, top[0]
            continue
        found = dense_apply(form, V, float(t**alpha), alpha, beta)
        ledger.values[i] = found.values
        ledger.truncation[i], ledger.rounding[i] = found.truncation, found.rounding
        ledger.degree = max(ledger.degree, found.degree)
        if found.method not in ledger.methods:
            ledger.methods.append(found.method)


def _krylov(
    ledger: Ledger,
    L: Operator,
    V: NDArray[Any],
    times: FloatArray,
    alpha: float,
    beta: float,
    rtol: float,
) -> None:
    moving = times > 0.0
    road = lanczos_apply if L.symmetric else arnoldi_apply
    ledger.methods.append("lanczos" if L.symmetric else "arnoldi")
    ahead, ledger.products = growth_ahead(L, float(times[-1] ** alpha), alpha)
    if L.kind == "free" and L.symmetric:
        ledger.products += 2  # the test that it is symmetric
    for j in range(V.shape[1]):
        if not np.any(V[:, j]):
            continue
        thetas = times[moving] ** alpha
        found = road(L, V[:, j], thetas, alpha, beta, rtol=rtol, ahead=ahead)
        ledger.values[moving, :, j] = found.values
        ledger.truncation[moving] = np.hypot(ledger.truncation[moving], found.error)
        ledger.rounding[moving] = np.hypot(ledger.rounding[moving], found.rounding)
        ledger.products += found.products
        ledger.degree = max(ledger.degree, found.degree)
        ledger.top = max(ledger.top, found.top, key=lambda one: one.real)
    ledger.values[~np.isfinite(ledger.values).all(axis=(1, 2))] = np.nan


def overflowing(
    eigenvalues: NDArray[Any], theta: float, alpha: float
) -> tuple[complex, float] | None:
    """Return the eigenvalue whose mode overflows and how far, or ``None`` if there is none."""
    growth = exponents(theta * eigenvalues, alpha)
    worst = int(np.argmax(growth))
    excess = (growth[worst] - log(alpha)) / LARGEST_EXPONENT
    return (complex(eigenvalues[worst]), float(excess)) if excess > 1.0 else None


def close_ledger(ledger: Ledger, V: NDArray[Any], rtol: float) -> ActionInfo:
    """Return relative errors and the status they imply."""
    sizes = np.array([euclidean(values) for values in ledger.values])
    scale = np.maximum(euclidean(V), sizes)
    scale = np.where(scale > 0.0, scale, 1.0)
    truncation, rounding = ledger.truncation / scale, ledger.rounding / scale
    status = Status.SUCCESS
    if not np.all(np.isfinite(ledger.values)):
        status = Status.NOT_FINITE
    elif not np.all(truncation <= rtol):
        status = Status.NOT_CONVERGED
    elif not np.all(rounding <= max(rtol, 1e-6)):
        status = Status.INACCURATE
    return ActionInfo(
        status=status,
        method="+".join(ledger.methods) if ledger.methods else "none",
        error_estimate=truncation + rounding,
        rounding=rounding,
        products=ledger.products,
        solves=ledger.solves,
        degree=ledger.degree,
    )
