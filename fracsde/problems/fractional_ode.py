r"""Systems of fractional ordinary differential equations.

.. math::
    D_t^{\alpha_c} y_c = (A y)_c + f_c(t, y), \qquad y(0) = y_0, \qquad 0 < \alpha_c \le 1 ,

with Caputo derivatives, one order for all components or one per component ``c``, a constant linear
part :math:`A` [t**-alpha] and a right-hand side :math:`f`; either may be absent.

Whatever is called is tried once at the start, so that a wrong shape or a NaN is found before the
first step.  A Jacobian that is not given is taken by differences; where the linear part is known
by its products only, so is the Jacobian.

Not here: how such systems are solved (:func:`fracsde.solve`), orders above one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse import csc_array, issparse
from scipy.sparse.linalg import LinearOperator

from fracsde._check import finite_array, matrix, vector
from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["FractionalODE"]

_RATES = "rhs(t, y) returns one finite real number per component"
_ROWS = "one row and column per component"
_STEP = float(np.sqrt(np.finfo(np.float64).eps))  # of differences, relative


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalODE:
    """A system with memory, linear, nonlinear or both.

    Parameters
    ----------
    rhs : callable, optional
        ``f(t, y)`` for a number ``t`` and an array ``(n,)``; returns ``(n,)`` [y/t**alpha].
    initial : (n,) array_like or float [y]
        State at time 0.
    alpha : (n,) array_like or float [1]
        Orders of the derivatives, ``0 < alpha <= 1``.
    jacobian : callable, optional
        ``(t, y)`` to the derivative of ``rhs`` with respect to ``y``: an ``(n, n)`` array, a
        scipy.sparse matrix or a LinearOperator.  Differences of ``rhs`` by default.
    linear : (n, n) array_like, sparse matrix or LinearOperator, optional
        ``A``, constant.

    Raises
    ------
    InputError
        If there is neither ``rhs`` nor ``linear``, or something is not callable or not real.
    ShapeError
        If shapes do not fit each other.
    NotFiniteError
        If a value at the start is NaN or infinite.
    OutOfRangeError
        If an order is not in (0, 1].

    References
    ----------
    [Diethelm2010]_

    Examples
    --------
    >>> decay = FractionalODE(rhs=lambda t, y: -(y**3), initial=1.0, alpha=0.6)
    >>> decay.value(0.0, decay.initial), decay.jacobian_at(0.0, decay.initial).round(6)
    (array([-1.]), array([[-3.]]))
    """

    citation: ClassVar[tuple[str, ...]] = ("Diethelm2010",)

    rhs: Callable[[float, FloatArray], ArrayLike] | None = None
    initial: FloatArray
    alpha: FloatArray
    jacobian: Callable[[float, FloatArray], Any] | None = None
    linear: Any = None

    def __post_init__(self) -> None:
        initial = vector("initial", self.initial)
        if len(initial) == 0:
            msg = "`initial` must hold at least one component, got none"
            raise ShapeError(msg)
        object.__setattr__(self, "initial", initial)
        object.__setattr__(self, "alpha", _orders(self.alpha, len(initial)))
        self._require_callables()
        if self.linear is not None:
            object.__setattr__(self, "linear", _operator("linear", self.linear, len(initial)))
        if self.rhs is not None:
            _require_rate(self.rhs(0.0, initial), len(initial))
        if self.jacobian is not None:
            _operator("jacobian(0, initial)", self.jacobian(0.0, initial), len(initial))

    def _require_callables(self) -> None:
        if self.rhs is None and self.linear is None:
            msg = "a FractionalODE needs `rhs`, a callable (t, y), or `linear`, a matrix, or both"
            raise InputError(msg)
        if self.jacobian is not None and self.rhs is None:
            msg = "`jacobian` is that of `rhs`, which was not given; `linear` is its own"
            raise InputError(msg)
        for name in ("rhs", "jacobian"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                msg = f"`{name}` must be a callable of (t, y), got {type(given).__name__}"
                raise InputError(msg)

    @property
    def dimension(self) -> int:
        """Number of components."""
        return len(self.initial)

    def value(self, t: float, y: FloatArray) -> FloatArray:
        """Return the whole right-hand side.

        Parameters
        ----------
        t : float [t]
            Time.
        y : (n,) float64 [y]
            State.

        Returns
        -------
        (n,) ndarray of float64 [y/t**alpha]
            A new array, whatever ``rhs`` returns.

        Raises
        ------
        ShapeError
            If ``rhs`` returns something else than one number per component.
        InputError
            If what it returns is not real.
        """
        if self.rhs is None:
            return np.asarray(self.linear @ y, dtype=np.float64)
        rate = self._own(t, y)
        return rate if self.linear is None else rate + self.linear @ y

    def jacobian_at(self, t: float, y: FloatArray) -> Any:
        """Return the derivative of the whole right-hand side.

        Parameters
        ----------
        t : float [t]
            Time.
        y : (n,) float64 [y]
            State.

        Returns
        -------
        (n, n) ndarray, csc_array or LinearOperator [1/t**alpha]

        Raises
        ------
        ShapeError
            If ``jacobian`` returns something else than one row and column per component.
        InputError
            If what it returns is not real.
        """
        if self.rhs is None:
            return self.linear
        if self.jacobian is not None:
            own = self.jacobian(t, y)
            if not _keeps_form(own):
                own = _real(f"jacobian({t:g}, y)", own)
            _require_shape(f"jacobian({t:g}, y)", own.shape, (len(y), len(y)), _ROWS)
        elif isinstance(self.linear, LinearOperator):
            own = self._differences_along(t, y)
        else:
            own = self._differences(t, y)
            own = csc_array(own) if issparse(self.linear) else own
        return _added(own, self.linear, len(y))

    def _differences(self, t: float, y: FloatArray) -> FloatArray:
        # One evaluation per component.
        base, size = self._own(t, y), self._size(y)
        columns = np.empty((len(y), len(y)))
        for c in range(len(y)):
            moved = np.array(y)
            moved[c] += _STEP * max(abs(moved[c]), size)
            columns[:, c] = (self._own(t, moved) - base) / (moved[c] - y[c])
        return columns

    def _differences_along(self, t: float, y: FloatArray) -> LinearOperator:
        # Products with the Jacobian of rhs, one evaluation each.
        base, size = self._own(t, y), max(self._size(y), float(np.abs(y).max()))

        def product(direction: FloatArray) -> FloatArray:
            v = np.ravel(direction)
            largest = float(np.abs(v).max())
            if largest == 0.0:
                return np.zeros_like(v)
            step = _STEP * size / largest
            return (self._own(t, y + step * v) - base) / step

        return LinearOperator((len(y), len(y)), matvec=product, dtype=np.float64)

    def _own(self, t: float, y: FloatArray) -> FloatArray:
        # NaN passes: schemes try such states and turn back.
        assert self.rhs is not None
        rate = _real(f"rhs({t:g}, y)", self.rhs(t, y))
        if len(y) != 1 or rate.size != 1:
            _require_shape(f"rhs({t:g}, y)", rate.shape, y.shape, _RATES)
        return rate.reshape(len(y))

    def _size(self, y: FloatArray) -> float:
        # What counts as a small change of a component that is zero.
        return 1e-3 * max(float(np.abs(y).max()), float(np.abs(self.initial).max())) or 1e-3


def _orders(alpha: Any, count: int) -> FloatArray:
    remedy = "give one order, or one per component of `initial`"
    orders = vector("alpha", alpha, length=count, remedy=remedy)
    bad = orders[(orders <= 0.0) | (orders > 1.0)]
    if len(bad):
        msg = (
            f"`alpha` must lie in (0, 1], got {bad[0]:g}; orders above 1 need a second initial "
            "value"
        )
        raise OutOfRangeError(msg)
    return orders


def _keeps_form(given: Any) -> bool:
    return bool(issparse(given) or isinstance(given, LinearOperator))


def _operator(name: str, given: Any, count: int) -> Any:
    # A checked matrix: dense, compressed columns, or known by its products.
    if not _keeps_form(given):
        return matrix(name, given, size=count, remedy=_ROWS)
    if given.shape != (count, count):
        msg = f"`{name}` must be {count} x {count}, got shape {given.shape}"
        raise ShapeError(msg)
    if np.issubdtype(given.dtype, np.complexfloating):
        msg = f"`{name}` must be real, got {given.dtype}; write real and imaginary parts"
        raise InputError(msg)
    if isinstance(given, LinearOperator):
        tried = given @ np.ones(count)
        finite_array(f"{name} @ ones", tried, shape=(count,))
        return given
    sparse = csc_array(given, dtype=np.float64)
    if not np.all(np.isfinite(sparse.data)):
        msg = f"`{name}` must be finite, got NaN or infinite entries"
        raise NotFiniteError(msg)
    return sparse


def _added(own: Any, linear: Any, count: int) -> Any:
    if linear is None:
        return own
    if isinstance(own, LinearOperator) or isinstance(linear, LinearOperator):
        return LinearOperator(
            (count, count), matvec=lambda v: own @ np.ravel(v) + linear @ np.ravel(v), dtype=float
        )
    if issparse(own) != issparse(linear):
        own, linear = (x.toarray() if issparse(x) else x for x in (own, linear))
    return own + linear


def _real(name: str, given: Any) -> FloatArray:
    # A new array; what is not numeric or complex is refused.
    try:
        array = np.asarray(given)
        if array.dtype.kind in "biuf" or (array.dtype.kind == "O" and given is not None):
            return np.array(array, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    kind = getattr(given, "dtype", type(given).__name__)
    msg = f"`{name}` must be an array of real numbers, got {kind}; check what is returned then"
    raise InputError(msg)


def _require_shape(name: str, found: tuple[int, ...], shape: tuple[int, ...], remedy: str) -> None:
    if found != shape:
        wanted = f"({shape[0]},)" if len(shape) == 1 else str(shape)
        msg = f"`{name}` must have shape {wanted}, got {found}; {remedy}"
        raise ShapeError(msg)


def _require_rate(rate: Any, count: int) -> None:
    array = finite_array("rhs(0, initial)", rate, remedy=_RATES)
    if count != 1 or array.size != 1:
        _require_shape("rhs(0, initial)", array.shape, (count,), _RATES)
