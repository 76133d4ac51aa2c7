r"""What observables need of a law: a linear process with its autocovariances.

A law whose noise depends on the state has the mean, covariance and autocovariances of a linear
process with constant noise: SGD on quadratic losses through
:func:`~fracsde.lyapunov.moments.equal_moments`, any other law that offers it as
``law.second_order()``.  It then has every observable that second moments determine; those of fourth
moments are the normal law's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from fracsde._check import integer, positive_semidefinite, real
from fracsde.errors import OutOfRangeError
from fracsde.lyapunov.moments import equal_moments
from fracsde.lyapunov.processes import as_linear
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD, require_near_minimum
from fracsde.stationary import stationary_covariance

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike
    from fracsde.lyapunov.propagators import LinearProcess
    from fracsde.problems.sgd import SGDNearMinimum

    class SecondOrderLaw(Protocol):
        """A law with the autocovariances of a linear process."""

        def second_order(self) -> LinearProcess:
            """Return that process."""
            ...

    LinearLaw: TypeAlias = (
        OUProcess | LinearRecursion | SGDNearMinimum | QuadraticLossSGD | SecondOrderLaw
    )

__all__ = ["averaged_noise", "second_order", "step_spacing", "whole"]

# The largest float, beyond the memory of any mode.
_MOST = int(np.finfo(np.float64).max)


def second_order(law: Any) -> LinearProcess:
    """Return the linear process with a law's autocovariances; SGD stands for its map.

    Parameters
    ----------
    law : OUProcess, LinearRecursion, SGDNearMinimum, QuadraticLossSGD or with ``second_order()``
        What the caller passed.

    Returns
    -------
    OUProcess or LinearRecursion
    """
    offered = getattr(law, "second_order", None)
    return as_linear(offered() if callable(offered) else equal_moments(law))


def averaged_noise(
    sgd: SGDNearMinimum | QuadraticLossSGD, covariance: ArrayLike | None = None
) -> SGDNearMinimum:
    """Return a run with constant noise that has the second moments of this one.

    Parameters
    ----------
    sgd : SGDNearMinimum or QuadraticLossSGD
        What the caller passed.
    covariance : (d, d) array_like [weight^2], optional
        That of the weights over which the noise is averaged; the stationary one if not given.

    Returns
    -------
    SGDNearMinimum
        The run itself if its noise is constant.
    """
    if not isinstance(sgd, QuadraticLossSGD):
        require_near_minimum(sgd)
        return sgd
    sgd.require_independent_batches()
    if covariance is None:
        S = stationary_covariance(sgd).matrix
    else:
        S = positive_semidefinite("covariance", covariance, size=sgd.dimension)
    noise = sgd.about_minimum.noise
    return replace(sgd.near_minimum(), gradient_noise=noise.at_minimum() + noise.spread(S))


def whole(name: str, value: Any, *, low: int, remedy: str = "") -> int:
    """Return a whole number, given as one or as a float that is one.

    Parameters
    ----------
    name : str
        The argument's name.
    value : int or float
        What the caller passed.
    low : int
        The least allowed.
    remedy : str
        What to do, for the message.

    Returns
    -------
    int

    Raises
    ------
    OutOfRangeError
        If it is no float.
    """
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    count = integer(name, value, low=low, remedy=remedy)
    if count > _MOST:
        msg = f"`{name}` must be at most {float(_MOST):g}, got one beyond any float; use that"
        raise OutOfRangeError(msg)
    return count


def step_spacing(process: LinearProcess, spacing: Any) -> float:
    """Return the time between draws, checked.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        The process.
    spacing : float [t, or steps]
        What the caller passed.

    Returns
    -------
    float

    Raises
    ------
    OutOfRangeError
        If it is not positive, or not a whole number of steps of a map.
    """
    value = real("spacing", spacing, low=0.0)
    if isinstance(process, LinearRecursion) and not value.is_integer():
        msg = f"`spacing` of a map must be a whole number of steps, got {value:g}; use the flow"
        raise OutOfRangeError(msg)
    return value
