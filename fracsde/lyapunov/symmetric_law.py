r"""The stationary law of a large problem: its equation and the ends of its spectrum.

The equation is that of :mod:`fracsde.lyapunov.response`, with ``A`` the curvature or drift and
``N`` the noise.  Before it is solved the ends of the spectrum of ``A`` are found in a few dozen
products, and with them what has no stationary law:

* a negative eigenvalue: not a minimum (a Ritz value lies inside the spectrum, so it is certain);
* an eigenvalue at the border :math:`2(1+\mu)/\eta` or beyond: the learning rate is too large;
* an eigenvalue 0: a flat direction, in which noise has no stationary variance.  Products cannot
  tell 0 from small; a flat direction shows when the noise or a direction reaches it.

Not here: where the equation has a closed form, :mod:`fracsde.lyapunov.isotropic`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from fracsde.errors import IndefiniteError, InputError, UnstableError
from fracsde.lyapunov.lanczos import largest_eigenvalue
from fracsde.lyapunov.response import Response, response
from fracsde.lyapunov.rounding import EPS
from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
from fracsde.problems.products import LowRankPlusDiagonal, Symmetric

__all__ = [
    "SymmetricLaw",
    "check_ritz",
    "refuse_flat",
    "symmetric_law",
]

# Products to look for the ends of the spectrum, and at most, near the border.
_STEPS = (32, 64, 128, 256, 512)
_ROUNDING = 1e-6  # products may come from single precision
_SPREAD = (
    "how far a few of them spread says fs.variance_growth(fs.SGDNearCriticalPoint(...), steps) of "
    "the problem projected onto them"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class SymmetricLaw:
    """An equation and what is known of its matrices.

    Parameters
    ----------
    A, N : LowRankPlusDiagonal or Products
        Curvature or drift, and the right-hand side.
    response : Response
        Coefficients of the equation.
    low, high : float
        Below and above all eigenvalues of ``A``; ``low`` is 0 where nothing better is known.
    noise_norm : float
        Above all eigenvalues of ``N``.
    name : {"hessian", "drift"}
        What ``A`` is made of, for messages.
    given : (float, float) or None
        Bounds on its eigenvalues that were passed.
    decay : float
        The part of every eigenvalue of ``A`` that is weight decay.
    products : int
        Products with ``A`` spent so far.
    """

    A: Symmetric
    N: Symmetric
    response: Response
    low: float
    high: float
    noise_norm: float
    name: str
    given: tuple[float, float] | None
    decay: float
    products: int

    @property
    def certain(self) -> bool:
        """Whether a positive lower bound on the spectrum is known."""
        return self.low > 0.0


def symmetric_law(problem: MatrixFreeOU | MatrixFreeSGD) -> SymmetricLaw:
    """Find the equation of a problem and the ends of its spectrum.

    Parameters
    ----------
    problem : MatrixFreeOU or MatrixFreeSGD
        SGD stands for its map.

    Returns
    -------
    SymmetricLaw

    Raises
    ------
    IndefiniteError
        If the Hessian or the noise has a negative eigenvalue.
    UnstableError
        If the learning rate is beyond its limit, or a drift grows.
    InputError
        If an eigenvalue lies outside the bounds that were passed.
    """
    coefficients = response(problem)
    if isinstance(problem, MatrixFreeSGD):
        A, decay = problem.curvature(), problem.weight_decay
        N = problem.gradient_noise.scaled(problem.learning_rate**2 * problem.batch_share)
        name, given = "hessian", problem.hessian_bounds
    else:
        A, N, decay = problem.drift, problem.noise, 0.0
        name, given = "drift", problem.drift_bounds
    low, high = given or (0.0, np.inf)
    low, high, enough = max(low + decay, 0.0), high + decay, False
    if isinstance(A, LowRankPlusDiagonal):
        ends = A.ends()
        slack = 8.0 * EPS * np.sqrt(A.dimension) * abs(ends[1])
        low, high = max(low, ends[0] - slack), min(high, ends[1] + slack)
        enough = given is None and ends[0] >= decay - slack and high < coefficients.border
    spent = 0
    for steps in () if enough else _STEPS:
        found = largest_eigenvalue(A, steps=steps)
        spent += found.products
        _check_ends(name, given, decay, found.smallest, found.largest)
        bound = max(min(high, found.bound), found.largest)
        if bound < coefficients.border or found.largest >= coefficients.border:
            break
    if not enough:
        high = bound
    if high <= 0.0:
        msg = f"There is no stationary law: `{name}` vanishes, and nothing pulls anywhere"
        raise UnstableError(msg)
    if high >= coefficients.border:
        assert isinstance(problem, MatrixFreeSGD)  # a flow has no border
        _refuse_rate(problem, found.largest, high)
    return SymmetricLaw(
        A=A,
        N=N,
        response=coefficients,
        low=low,
        high=high,
        noise_norm=_noise_norm(N),
        name=name,
        given=given,
        decay=decay,
        products=spent,
    )


def refuse_flat(curvature: float, law: SymmetricLaw) -> NoReturn:
    """Refuse noise in a flat direction.

    Parameters
    ----------
    curvature : float
        What was found, decay included.
    law : SymmetricLaw
        The equation.

    Raises
    ------
    UnstableError
        Always.
    """
    msg = (
        f"There is no stationary variance: a direction of curvature {max(curvature, 0.0):.3g}, "
        f"which cannot be told from 0 beside the largest, {law.high:.3g}, is reached, and noise "
        "performs a random walk there; set a weight decay, or leave such directions out; " + _SPREAD
    )
    raise UnstableError(msg)


def check_ritz(law: SymmetricLaw, smallest: float, largest: float) -> None:
    """Refuse a problem whose Ritz values contradict what was said of it.

    Parameters
    ----------
    law : SymmetricLaw
        The equation.
    smallest, largest : float
        Ritz values of its matrix.

    Raises
    ------
    IndefiniteError, UnstableError, InputError
        As for :func:`symmetric_law`.
    """
    _check_ends(law.name, law.given, law.decay, smallest, largest)


def _check_ends(
    name: str, given: tuple[float, float] | None, decay: float, smallest: float, largest: float
) -> None:
    # Ritz values lie inside the spectrum: what contradicts them is wrong.
    slack = _ROUNDING * max(abs(smallest), abs(largest))
    low, high = smallest - decay, largest - decay
    if name == "hessian" and given is None and low < -slack:
        msg = (
            f"`hessian` must be positive semi-definite: an eigenvalue is at most {low:.6g} (the "
            f"largest is at least {high:.6g}); there is no stationary law along such directions: "
            "train further, or project onto the directions with positive curvature; if the weight "
            "decay outweighs them, say so with `hessian_bounds`; " + _SPREAD
        )
        raise IndefiniteError(msg)
    if smallest < -slack:
        msg = (
            f"There is no stationary law: `{name}` has an eigenvalue at or below {low:.6g}, so "
            "perturbations grow; leave such directions out"
        )
        raise UnstableError(msg)
    if given is not None and (low < given[0] - slack or high > given[1] + slack):
        msg = (
            f"`{name}_bounds` must enclose all eigenvalues, got {given}, but there are some at or "
            f"below {low:.6g} and at or above {high:.6g}"
        )
        raise InputError(msg)


def _refuse_rate(problem: MatrixFreeSGD, largest: float, high: float) -> NoReturn:
    momentum = problem.momentum
    limit = 2.0 * (1.0 + momentum) / largest
    msg = (
        f"SGD with learning_rate={problem.learning_rate:g} and momentum={momentum:g} has no "
        "stationary law"
    )
    if problem.learning_rate >= limit:
        msg += (
            f": the critical learning rate 2 (1 + momentum) / h_max is at most {limit:.6g}, "
            f"where h_max >= {largest:.6g} includes the weight decay; lower the rate"
        )
    else:
        msg += (
            " that could be told from an unstable one: the critical learning rate lies between "
            f"{2.0 * (1.0 + momentum) / high:.6g} and {limit:.6g}; lower the rate, or pass "
            "`hessian_bounds` if the largest curvature is known"
        )
    raise UnstableError(msg)


def _noise_norm(N: Symmetric) -> float:
    if isinstance(N, LowRankPlusDiagonal):
        return max(N.ends()[1], 0.0)
    found = largest_eigenvalue(N, steps=_STEPS[0])
    if found.smallest < -_ROUNDING * max(abs(found.smallest), abs(found.largest)):
        share = found.smallest / max(abs(found.smallest), abs(found.largest))
        msg = (
            "the noise must be positive semi-definite: it has an eigenvalue at or below "
            f"{share:.3g} times the largest magnitude; a covariance is a sum of squares"
        )
        raise IndefiniteError(msg)
    return max(found.bound, 0.0)
