r"""How fast SGD leaves a well, by formulas and exactly.

Noise of variance :math:`C` in the gradient of one example is the temperature
:math:`T = \eta C / [2 B (1 - \mu)]`.  Over a height :math:`\Delta L` its rate per step is
that of [Kramers1940]_,

.. math::
    r = \frac{\lambda_+}{2\pi} \sqrt{\frac{L''(w_0)}{|L''(w_s)|}}\; e^{-\Delta L / T}, \qquad
    \lambda_+ = \eta\, |L''(w_s)| \quad (\mu = 0) ,

and with momentum :math:`\lambda_+ = \log z_+`, where :math:`z_+ > 1` is the root of
:math:`z^2 - (1 + \mu + \eta |L''(w_s)|)\, z + \mu = 0`: the rate at which a deviation from the
saddle grows.  Where friction is too low to keep the top of the well filled, the
rate is smaller by

.. math::
    \Upsilon(\delta) = \exp \Bigl[\frac{1}{2\pi} \int
        \ln\bigl(1 - e^{-\delta (x^2 + 1/4)}\bigr) \frac{dx}{x^2 + 1/4} \Bigr], \qquad
    \delta = \frac{1 - \mu}{\eta T} \oint v\, dw

[MelnikovMeshkov1986]_.  Noise that depends on the place replaces :math:`\Delta L/T` by
:math:`\int 2 B L' / (\eta C)\, dw` and multiplies the rate by :math:`\sqrt{C(w_0)/C(w_s)}`; for
:math:`C = 2 h L` that is the power law :math:`[L(w_0)/L(w_s)]^{B/(\eta h) + 1/2}` of [Mori2022]_ on
a line.  In ``d`` dimensions with isotropic noise the root is that of the ratio of determinants.

What the formula leaves out is of order :math:`T / \Delta L` and of order :math:`\eta L''`.  Without
momentum and with constant noise the second is known: the stationary law of the steps is

.. math::
    p \propto \exp \Bigl[-\frac{1}{T} \Bigl(L - \frac{\eta}{4} L'^2
        + \frac{\eta^2}{12} \int L'^2 L''' dw \Bigr) - \frac{\eta}{2} L'' + O(\eta^2)\Bigr] ,

so that the rate is multiplied by

.. math::
    \Bigl[1 + \frac{\eta}{4} \bigl(L''(w_0) - |L''(w_s)|\bigr)\Bigr]
    \exp \Bigl[-\frac{\eta^2}{12\, T} \int_{w_0}^{w_s} L'^2 L''' dw\Bigr] .

The height of the barrier is right to first order in the rate: :math:`L'` vanishes at both ends.
The second order is known too (:func:`fracsde.physics._barriers.second_order`): it is not applied,
but is what results state of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import choice, integer, matrix, real, symmetric
from fracsde.errors import InputError, UnsupportedError
from fracsde.physics._barriers import (
    Way,
    finite_rate,
    growth_at_saddle,
    log_cells,
    log_depopulation,
    log_kramers,
    log_momentum,
    second_order,
    size_of_second,
)
from fracsde.physics.step_operator import mean_exit_steps
from fracsde.problems.barrier import SGDOverBarrier
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike

__all__ = ["EscapeRate", "escape_rate", "eyring_kramers"]

_METHODS = ("kramers", "finite_rate", "quadrature", "fokker_planck", "map")
_TRUSTED = 0.2  # relative size of what is left out up to which a formula counts as valid


@dataclass(frozen=True, kw_only=True, eq=False)
class EscapeRate:
    """Rate of escape from a well.

    Parameters
    ----------
    rate : float [1/step]
        The inverse of the mean time from the minimum to the far side of the barrier.
    log_rate : float
        Its logarithm, which is there where the rate underflows.
    barrier : float [1]
        Height in temperatures.
    method : str
        How it was computed.
    low_barrier : float [1]
        Relative error that the finite height of the barrier causes, of this method; 0 where it
        causes none.  Measured against the exact rate of the flow on a line, estimated as
        ``1 / barrier`` in more dimensions.
    finite_rate : float [1]
        Relative error that the finite learning rate causes, to lowest order; 0 where it causes
        none.  Of ``"finite_rate"`` the size of its second order, over the cube of
        ``1 - eta L''/2`` for those that follow; that cube is calibrated, not derived.
    status : Status
        ``INACCURATE`` where either is above 20 %, the second with the size of its next order, or
        where the barrier is below three temperatures.
    validity : str
        The same as a sentence.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Kramers1940", "Hanggi1990", "MelnikovMeshkov1986")

    rate: float
    log_rate: float
    barrier: float
    method: str
    low_barrier: float
    finite_rate: float
    status: Status
    validity: str
    provenance: Provenance

    @property
    def mean_time(self) -> float:
        """Mean number of steps to escape."""
        return float(np.exp(-self.log_rate))


def escape_rate(sgd: SGDOverBarrier, *, method: str = "kramers") -> EscapeRate:
    """Return the rate at which SGD on a line escapes over a barrier.

    Parameters
    ----------
    sgd : SGDOverBarrier
        The well and the barrier.
    method : {"kramers", "finite_rate", "quadrature", "fokker_planck", "map"}
        Kramers' formula; the exact rate of the flow with the known correction for a finite learning
        rate; the exact rate of the flow by quadrature, or on cells; the exact rate of the steps
        with normal noise.  With momentum there is the formula.

    Returns
    -------
    EscapeRate
        Look at ``status`` and ``validity``: formulas have a range.

    Raises
    ------
    InputError
        If ``sgd`` is something else, or there is no such method.
    UnsupportedError
        If the method does not serve momentum or this noise, the well is open on both sides, or the
        map would be too large.

    References
    ----------
    [Kramers1940]_, [Hanggi1990]_, [MelnikovMeshkov1986]_, [Mori2022]_

    Examples
    --------
    >>> sgd = SGDOverBarrier(loss="(x**2 - 1)**2", noise=20.0, minimum=-1.0, saddle=0.0,
    ...     learning_rate=0.02)
    >>> for method in ("kramers", "quadrature", "finite_rate", "map"):
    ...     print(f"{method:<12} {escape_rate(sgd, method=method).mean_time:.0f}")
    kramers      8242
    quadrature   9121
    finite_rate  8918
    map          8894
    >>> escape_rate(sgd).validity
    'barrier of 5 temperatures; leaves out -9.6 % for its height and 2.3 % for the learning rate'
    """
    given: Any = sgd
    if not isinstance(given, SGDOverBarrier):
        msg = (
            f"`sgd` must be an SGDOverBarrier, got {type(sgd).__name__}; in more dimensions ask "
            "for eyring_kramers(...)"
        )
        raise InputError(msg)
    choice("method", method, _METHODS)
    _refuse(sgd, method)
    way = Way(sgd)
    kramers = log_kramers(sgd, way)
    flow = way.log_rate
    later, next_order = finite_rate(sgd), 0.0
    if sgd.momentum == 0.0 and method != "map":
        next_order = second_order(sgd)
    if method == "kramers":
        lost = log_depopulation(sgd) if sgd.momentum else 0.0
        log_rate, low, late = kramers + lost, float(np.expm1(flow - kramers)), later
        if sgd.momentum:
            log_rate += log_momentum(sgd)
    elif method == "finite_rate":
        log_rate, low, late = flow + np.log1p(later), 0.0, next_order
        next_order = 0.0
    elif method == "map":
        low_end, high_end = sorted((way.edge, sgd.far_side))
        right = sgd.saddle > sgd.minimum
        steps = mean_exit_steps(sgd, low_end, high_end, right=right)
        log_rate, low, late = -float(np.log(steps)), 0.0, 0.0
    else:
        log_rate = flow if method == "quadrature" else log_cells(sgd, way)
        low, late = 0.0, later
    return _result(way.height, log_rate, method, low, late, sgd, next_order=next_order)


def eyring_kramers(
    *,
    height: float,
    hessian_minimum: ArrayLike,
    hessian_saddle: ArrayLike,
    gradient_noise: ArrayLike,
    learning_rate: float,
    batch_size: int = 1,
    momentum: float = 0.0,
) -> EscapeRate:
    r"""Return the rate of escape over a saddle in any number of dimensions.

    .. math::
        r = \frac{\lambda_+}{2\pi} \sqrt{\frac{\det H_0}{|\det H_s|}}\; e^{-\Delta L/T}

    Parameters
    ----------
    height : float [loss]
        Of the saddle above the minimum, positive.
    hessian_minimum, hessian_saddle : (d, d) array_like [loss/weight^2]
        Positive definite, and with one negative eigenvalue.
    gradient_noise : float or (d, d) array_like [loss^2/weight^2]
        Covariance of the gradient of one example, the same in all directions and everywhere on the
        way.
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``.
    momentum : float [1]
        ``mu`` in ``[0, 1)``; low friction is not seen here.

    Returns
    -------
    EscapeRate

    Raises
    ------
    InputError
        If the Hessians are not those of a minimum and of a saddle of index one.
    UnsupportedError
        If the noise prefers a direction, for which there is no such formula.

    References
    ----------
    [Kramers1940]_, [Hanggi1990]_

    Examples
    --------
    >>> result = eyring_kramers(height=1.0, hessian_minimum=np.diag([8.0, 2.0]),
    ...     hessian_saddle=np.diag([-4.0, 3.0]), gradient_noise=20.0, learning_rate=0.02)
    >>> round(result.mean_time), result.status.name
    (10095, 'SUCCESS')
    """
    eta, delta = real("learning_rate", learning_rate, low=0.0), real("height", height, low=0.0)
    mu = real("momentum", momentum, low=0.0, high=1.0, closed="low")
    batch = integer("batch_size", batch_size, low=1)
    bottom = np.linalg.eigvalsh(symmetric("hessian_minimum", hessian_minimum))
    top = np.linalg.eigvalsh(symmetric("hessian_saddle", hessian_saddle, size=len(bottom)))
    if bottom[0] <= 0.0:
        msg = f"`hessian_minimum` must be positive definite, its lowest eigenvalue is {bottom[0]:g}"
        raise InputError(msg)
    if top[0] >= 0.0 or (len(top) > 1 and top[1] <= 0.0):
        msg = (
            "`hessian_saddle` must have one negative eigenvalue and no zero, got "
            f"{np.array2string(top, precision=4)}; the lowest pass has index one"
        )
        raise InputError(msg)
    temperature = 0.5 * eta * _isotropic(gradient_noise, len(bottom)) / batch / (1.0 - mu)
    x, y = eta * bottom, eta * top
    ratio = np.sum(np.log(bottom)) - np.sum(np.log(np.abs(top)))
    log_rate = (
        np.log(growth_at_saddle(-y[0], mu) / (2.0 * np.pi)) + 0.5 * ratio - delta / temperature
    )
    late = 0.25 * (x.sum() - y.sum()) + 0.5 * y[0] if mu == 0.0 else max(x[-1], -y[0])
    return _result(
        delta / temperature,
        float(log_rate),
        "kramers",
        temperature / delta,
        float(late),
        (height, hessian_minimum, hessian_saddle, gradient_noise, eta, batch, mu),
        next_order=size_of_second(np.append(x, y), late) if mu == 0.0 else 0.0,
    )


# --- words ----------------------------------------------------------------------------------------


def _refuse(sgd: SGDOverBarrier, method: str) -> None:
    constant = not callable(sgd.noise)
    if sgd.momentum > 0.0 and method != "kramers":
        msg = (
            f"method={method!r} serves SGD without momentum, got momentum={sgd.momentum:g}; "
            "method='kramers' has the formula"
        )
        raise UnsupportedError(msg)
    if sgd.momentum > 0.0 and not constant:
        msg = (
            "momentum with noise that depends on the place has no formula here; pass one number "
            "for `noise`, or no momentum"
        )
        raise UnsupportedError(msg)
    if method == "finite_rate" and not constant:
        msg = (
            "method='finite_rate' serves noise that is the same everywhere; method='map' is exact "
            "for other noise"
        )
        raise UnsupportedError(msg)


def _result(
    barrier: float,
    log_rate: float,
    method: str,
    low: float,
    late: float,
    *inputs: Any,
    next_order: float = 0.0,
) -> EscapeRate:
    doubts = []
    if method == "kramers" and barrier < 3.0:
        doubts.append("a barrier below three temperatures is no barrier to a formula")
    if abs(low) > _TRUSTED or abs(late) + next_order > _TRUSTED:
        doubts.append("more than a fifth: ask for another method")
    out = [f"{100.0 * low:.2g} % for its height"] if low else []
    out += [f"{100.0 * late:.2g} % for the learning rate"] if late else []
    words = f"barrier of {barrier:.4g} temperatures; leaves out {' and '.join(out) or 'nothing'}"
    return EscapeRate(
        rate=float(np.exp(log_rate)),
        log_rate=float(log_rate),
        barrier=barrier,
        method=method,
        low_barrier=low,
        finite_rate=late,
        status=Status.INACCURATE if doubts else Status.SUCCESS,
        validity="; ".join([words, *doubts]),
        provenance=provenance(*inputs, method),
    )


def _isotropic(value: ArrayLike, size: int) -> float:
    if np.ndim(value) == 0:
        return real("gradient_noise", value, low=0.0)
    C = matrix("gradient_noise", value, size=size)
    mean = float(np.trace(C)) / size
    if np.abs(C - mean * np.eye(size)).max() > 1e-9 * abs(mean):
        msg = (
            "`gradient_noise` prefers directions, and then the barrier is not the loss: there is "
            "no formula in Hessians alone; measure it, or project onto the way over the saddle"
        )
        raise UnsupportedError(msg)
    return real("gradient_noise", mean, low=0.0)
