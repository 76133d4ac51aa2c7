r"""Linear processes with additive noise: the flow and the map.

.. math::
    dX = -A (X - m)\,dt + B\,dW, \qquad \texttt{noise} = B B^T
    \qquad\text{(Ornstein-Uhlenbeck, Itô)}

.. math::
    X' = m + T (X - m) + \xi, \qquad \operatorname{Cov}\xi = \texttt{noise}
    \qquad\text{(linear recursion)}

Stationary covariances solve :math:`A\Sigma + \Sigma A^T = \texttt{noise}` and
:math:`\Sigma = T \Sigma T^T + \texttt{noise}`.

Not here: what follows from them, see :mod:`fracsde.stationary`, :mod:`fracsde.transients` and
:mod:`fracsde.simulate`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import matrix, positive_semidefinite, vector
from fracsde.errors import InputError, ShapeError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["LinearRecursion", "OUProcess"]


@dataclass(frozen=True, kw_only=True, eq=False)
class OUProcess:
    """Ornstein-Uhlenbeck process ``dX = -A (X - m) dt + B dW``.

    Parameters
    ----------
    drift : (d, d) array_like [1/t]
        ``A``.  It need not be symmetric; the process is stable when all its eigenvalues have
        positive real parts.
    noise : (d, d) array_like [x^2/t]
        ``B B^T``, symmetric positive semi-definite.
    mean : (d,) array_like or float [x]
        ``m``, where the drift vanishes.
    context : str
        A sentence added to error messages, for instance the limit on a learning rate.
    observe : slice or (k,) array_like of int
        Which coordinates of the state are the weights; inertia puts velocities beside them.

    Raises
    ------
    ShapeError, NotFiniteError, NotSymmetricError, IndefiniteError
        If a matrix is not what it should be.
    InputError
        If ``observe`` selects nothing or coordinates that do not exist.

    References
    ----------
    [UhlenbeckOrnstein1930]_, [Gardiner2009]_

    Examples
    --------
    >>> process = OUProcess(drift=[[1.0, 0.0], [0.0, 2.0]], noise=np.eye(2))
    >>> process.dimension
    2
    """

    citation: ClassVar[tuple[str, ...]] = ("UhlenbeckOrnstein1930", "Gardiner2009")

    drift: FloatArray
    noise: FloatArray
    mean: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below
    context: str = ""
    observe: slice | IntArray = field(default_factory=lambda: slice(None))

    def __post_init__(self) -> None:
        drift = matrix("drift", self.drift)
        size = len(drift)
        object.__setattr__(self, "drift", drift)
        object.__setattr__(self, "noise", positive_semidefinite("noise", self.noise, size=size))
        object.__setattr__(self, "mean", vector("mean", self.mean, length=size))
        object.__setattr__(self, "observe", _observe(self.observe, size))

    @property
    def dimension(self) -> int:
        """Number of coordinates of the state."""
        return len(self.drift)

    @property
    def observed(self) -> IntArray:
        """Indices of the observed coordinates."""
        return np.arange(self.dimension)[self.observe]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearRecursion:
    """Linear recursion ``X' = m + T (X - m) + xi`` with ``Cov xi = noise``.

    Parameters
    ----------
    transition : (d, d) array_like [1]
        ``T``; the recursion is stable when its spectral radius is below 1.
    noise : (d, d) array_like [x^2]
        Covariance of the noise of one step, symmetric positive semi-definite.
    mean : (d,) array_like or float [x]
        ``m``, the fixed point.
    observe : slice or (k,) array_like of int
        Which coordinates of the state are the weights; momentum puts velocities beside them.
    context : str
        A sentence added to error messages, for instance the limit on a learning rate.

    Raises
    ------
    ShapeError, NotFiniteError, NotSymmetricError, IndefiniteError
        If a matrix is not what it should be.
    InputError
        If ``observe`` selects nothing or coordinates that do not exist.

    References
    ----------
    [Liu2021]_, for SGD

    Examples
    --------
    >>> process = LinearRecursion(transition=[[0.9]], noise=[[0.19]])
    >>> process.dimension, process.observed
    (1, array([0]))
    """

    citation: ClassVar[tuple[str, ...]] = ("Liu2021",)

    transition: FloatArray
    noise: FloatArray
    mean: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below
    observe: slice | IntArray = field(default_factory=lambda: slice(None))
    context: str = ""

    def __post_init__(self) -> None:
        transition = matrix("transition", self.transition)
        size = len(transition)
        object.__setattr__(self, "transition", transition)
        object.__setattr__(self, "noise", positive_semidefinite("noise", self.noise, size=size))
        object.__setattr__(self, "mean", vector("mean", self.mean, length=size))
        object.__setattr__(self, "observe", _observe(self.observe, size))

    @property
    def dimension(self) -> int:
        """Number of coordinates of the state."""
        return len(self.transition)

    @property
    def observed(self) -> IntArray:
        """Indices of the observed coordinates."""
        return np.arange(self.dimension)[self.observe]


def _observe(observe: slice | IntArray, size: int) -> slice | IntArray:
    if isinstance(observe, slice):
        if any(
            not isinstance(bound, (int, np.integer, type(None)))
            for bound in (observe.start, observe.stop, observe.step)
        ):
            msg = f"`observe` must be a slice of whole numbers, got {observe!r}"
            raise InputError(msg)
        chosen: slice | IntArray = observe
    else:
        index = np.array(observe)
        if index.ndim != 1 or index.dtype.kind not in "iu":
            msg = f"`observe` must be a slice or a vector of whole numbers, got {observe!r}"
            raise InputError(msg)
        if index.size and (index.min() < -size or index.max() >= size):
            msg = f"`observe` must name coordinates of a {size}-dimensional state, got {index}"
            raise ShapeError(msg)
        index.flags.writeable = False
        chosen = index
    if np.arange(size)[chosen].size == 0:
        msg = f"`observe` selects none of the {size} coordinates; got {chosen!r}"
        raise InputError(msg)
    return chosen
