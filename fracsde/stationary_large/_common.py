"""What the verbs for large problems share: checks of arguments, memory, error bounds, endings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from fracsde._check import finite_array, real
from fracsde.errors import ComputationError, InputError, OutOfRangeError, UnsupportedError
from fracsde.lyapunov.symmetric_law import SymmetricLaw, check_ritz, refuse_flat
from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.lyapunov.krylov_space import Seen

    Watch = Callable[[int, float], None]

__all__ = [
    "BESIDE",
    "TRUNCATION",
    "as_columns",
    "as_matrix_free",
    "capacity_of",
    "finished",
    "floor_gain",
    "held_by",
    "inspect",
    "missed",
    "refuse_closed_form",
    "silent",
]

# Vectors that a solve holds beside its space: scaled diagonals, a product and its copies, a block
# of combinations and its products.
BESIDE = 14
# Matrices of the size of the space that a look at it holds.
_LOOK = 12
# Share of the accuracy that truncation may take.
TRUNCATION = 0.1
# Share of a right-hand side that may lie in a flat direction: rounding.
_FLAT_SHARE = 1e-12

Result = TypeVar("Result")


def as_columns(directions: ArrayLike, dimension: int) -> FloatArray:
    """Return directions as columns.

    Parameters
    ----------
    directions : (d,) or (d, p) array_like
        What the caller passed.
    dimension : int
        ``d``.

    Returns
    -------
    (d, p) float64
    """
    U = finite_array("directions", directions, ndim=(1, 2), copy=False)
    if U.ndim == 1:
        U = U[:, None]
    return finite_array("directions", U, shape=(dimension, None), copy=False)


def capacity_of(memory: float, dimension: int, columns: int, beside: int = BESIDE) -> int:
    """Return how many vectors a space may hold.

    Parameters
    ----------
    memory : float [byte]
        What the caller allows.
    dimension : int
        Length of a vector.
    columns : int
        Right-hand sides.
    beside : int
        Vectors held beside the space.

    Returns
    -------
    int

    Raises
    ------
    OutOfRangeError
        If that is too few to begin.
    """
    memory = real("memory", memory, low=0.0)
    least = min(8 + 4 * columns, dimension + 1)
    needed = held_by(least, dimension, beside)
    # The root of held_by(fits) = memory, and no larger one in rounding.
    rest = memory / 8.0 - beside * dimension
    root = math.sqrt(dimension**2 + 4.0 * _LOOK * max(rest, 0.0))
    fits = int(2.0 * rest / (root + dimension))
    fits -= held_by(fits, dimension, beside) > memory
    if fits < least:
        msg = (
            f"`memory` must be at least {needed:.3g} bytes for dimension {dimension} and "
            f"{columns} columns, got {memory:.3g}"
        )
        raise OutOfRangeError(msg)
    # One more than there can be, so that a full space is one that was cut off.
    return min(fits, dimension + 1)


def held_by(vectors: int, dimension: int, beside: int = BESIDE) -> int:
    """Return the memory of a solve, in bytes.

    Parameters
    ----------
    vectors : int
        That its space holds.
    dimension : int
        Length of a vector.
    beside : int
        Vectors held beside the space.

    Returns
    -------
    int
    """
    return 8 * (dimension * (vectors + beside) + _LOOK * vectors**2)


def silent(products: int, ratio: float) -> None:
    """Report nothing."""


def finished(result: Result, *, throw: bool) -> Result:
    """Return a result, or raise what its status says.

    Parameters
    ----------
    result : object
        With ``status`` and ``detail``.
    throw : bool
        Whether to raise.

    Returns
    -------
    object

    Raises
    ------
    ComputationError
        If the status is not a success.
    """
    found: Any = result
    if throw and not found.status.ok:
        raise ComputationError(found.status, found.detail)
    return result


def missed(what: str, rtol: float, law: SymmetricLaw) -> str:
    """Return what to say of a bound above the accuracy.

    Parameters
    ----------
    what : str
        Subject and verb.
    rtol : float
        The accuracy.
    law : SymmetricLaw
        The equation.

    Returns
    -------
    str
    """
    known = (
        f"the condition number is {law.high / law.low:.3g} at most"
        if law.certain
        else "no positive lower bound on the curvature is known"
    )
    return (
        f"{what} rtol={rtol:g}; {known}, and products are good to {law.A.precision:.1g}. Allow "
        "more `memory` (or products), pass bounds on the curvature, set a weight decay, make "
        "products in double precision, or take throw=False and the bound as it is."
    )


def floor_gain(law: SymmetricLaw, seen: Seen) -> float:
    """Return the norm of the inverse of an equation; half the least curvature met if none is known.

    Parameters
    ----------
    law : SymmetricLaw
        The equation.
    seen : Seen
        What it looks like in a space.

    Returns
    -------
    float
    """
    floor = law.low if law.certain else 0.5 * float(seen.ritz[0])
    return law.response.largest_gain(floor, law.high)


def inspect(law: SymmetricLaw, seen: Seen) -> None:
    """Refuse a problem that a look at its space reveals to be another one.

    Parameters
    ----------
    law : SymmetricLaw
        The equation.
    seen : Seen
        What it looks like in a space.

    Raises
    ------
    UnstableError
        If a flat direction is reached.
    """
    check_ritz(law, float(seen.ritz[0]), float(seen.ritz[-1]))
    if not law.certain and seen.flat > _FLAT_SHARE:
        refuse_flat(float(seen.ritz[0]), law)


def refuse_closed_form() -> NoReturn:
    """Refuse matrices without a closed form.

    Raises
    ------
    UnsupportedError
        Always.
    """
    msg = (
        "method='closed_form' needs curvature and noise as LowRankPlusDiagonal with a number for "
        "the diagonal and fewer columns than half the dimension; use method='auto'"
    )
    raise UnsupportedError(msg)


def as_matrix_free(process: Any, others: str = "") -> MatrixFreeSGD | MatrixFreeOU:
    """Return a large problem.

    Parameters
    ----------
    process : MatrixFreeSGD or MatrixFreeOU
        What the caller passed.
    others : str
        What else the verb takes.

    Returns
    -------
    MatrixFreeSGD or MatrixFreeOU

    Raises
    ------
    InputError
        If it is something else.
    """
    if isinstance(process, (MatrixFreeSGD, MatrixFreeOU)):
        return process
    msg = (
        f"`process` must be a MatrixFreeSGD or a MatrixFreeOU{others}, got "
        f"{type(process).__name__}; for others there is stationary_covariance"
    )
    raise InputError(msg)
