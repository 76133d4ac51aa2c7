r"""The order of a fractional clock from first and second moments.

In a well from one common start, mean and mean square relax together
(:mod:`fracsde.estimators.moment_curves`); on flat ground the mean square displacement grows like
:math:`t^\alpha`.  With the curves :math:`y_r(t) = (x_r(t), x_r(t)^2)` of the chains and their
shrunk covariance ``S``, the fit minimises

.. math::
    \chi^2 = R\, (\bar y - m(\theta))^T S^{-1} (\bar y - m(\theta)),

and errors are those of the delete-one-chain jackknife.  The one step of it that
:mod:`fracsde.estimators.fractional_order` takes falls short where weights of few chains move
with what they weigh: from 48 chains on flat ground it states 0.076 for an order that scatters by
0.086.  Up to 256 chains a second step, from the covariance of the chains that are left, makes it
0.087.

Small squares weigh more, which no jackknife sees: on flat ground
:math:`\ln K` came out low by 0.09 from 48 chains and by 0.044 from 100 (300 fits each).  That
much, 4.5 over the number of chains, is part of its error.

It needs no mean that relaxes: chains released at the centre of the well still spread.  It asks
less of the law than the likelihood, two moments and not its shape, and is less sharp for it.

References: [SchaeferStrimmer2005]_ for the shrinkage, [Efron1982]_ for the jackknife,
[Hotelling1931]_ for the test of the misfit, [Metzler1999]_ for the moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import linalg

from fracsde._check import choice
from fracsde.errors import RecordError
from fracsde.estimators.fractional_law import (
    FractionalLawFit,
    Motion,
    fitted,
    moving_record,
)
from fracsde.estimators.generalised_fit import jackknife, minimise, misfit_p_value
from fracsde.estimators.moment_curves import ConfinedMoments, FreeMoments
from fracsde.estimators.relaxation import shrunk_covariance

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.estimators.generalised_fit import CurveModel

__all__ = ["FractionalMomentsFit", "fit_fractional_moments"]

_MIN_TIMES = 4
_FEW = 256  # chains up to which the jackknife takes a second step
_BIAS = 4.5  # over the number of chains, of the logarithm of K, see the module


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalMomentsFit(FractionalLawFit):
    """A law on the fractional clock, fitted to moments.

    Parameters
    ----------
    misfit : float [1]
        Chi-square per degree of freedom, with the shrunk covariance of the chains; about 1 or
        below for the right law.
    misfit_p_value : float [1]
        Chance that smooth residuals as large arise if the law holds; small means a poor fit.
    """

    citation: ClassVar[tuple[str, ...]] = (
        "SchaeferStrimmer2005",
        "Efron1982",
        "Hotelling1931",
        "Metzler1999",
    )

    misfit: float
    misfit_p_value: float


def fit_fractional_moments(
    times: ArrayLike,
    positions: ArrayLike,
    *,
    motion: Motion = "confined",
    starts: ArrayLike | None = None,
) -> FractionalMomentsFit:
    """Fit order and scales of a law on the fractional clock to moments over chains.

    Parameters
    ----------
    times : (t,) array_like [t]
        Since the start of the motion, not negative, increasing.
    positions : (chain, t) array_like [x]
        One coordinate of every chain, ``run.values[:, :, k]`` of a Trajectory.
    motion : {"confined", "free"}
        A quadratic well, or flat ground (``t`` well before the relaxation).
    starts : float or (chain,) array_like, optional [x]
        Positions at time 0; taken from the record if it begins there.  A well needs one start
        for all chains.

    Returns
    -------
    FractionalMomentsFit

    Raises
    ------
    RecordError
        If there are fewer than 16 chains or 4 times, no starts, or, in a well, several.

    References
    ----------
    [Metzler1999]_

    Examples
    --------
    Brownian motion is free motion of order 1:

    >>> rng = np.random.default_rng(5)
    >>> x = np.cumsum(rng.standard_normal((400, 64)), axis=1)[:, [0, 3, 15, 63]]
    >>> fit = fit_fractional_moments([1, 4, 16, 64], x, motion="free", starts=0.0)
    >>> fit.alpha > 0.9, round(fit.diffusion, 1)
    (True, 0.5)
    """
    choice("motion", motion, ("confined", "free"))
    elapsed, x, begin = moving_record(times, positions, starts)
    if len(elapsed) < _MIN_TIMES:
        msg = (
            f"moments need at least {_MIN_TIMES} times after the start, got {len(elapsed)}; record "
            "more often, or use the likelihood, `fit_fractional_likelihood`"
        )
        raise RecordError(msg)
    reference = float(np.exp(np.mean(np.log(elapsed))))
    offset = 0.0
    model: ConfinedMoments | FreeMoments
    if motion == "free":
        curves = np.square(x - begin[:, None])
        model = FreeMoments(times=elapsed, reference=reference)
    else:
        if np.ptp(begin) > 1e-12 * np.abs(x).max():
            msg = (
                f"moments in a well need one start for all chains, got starts from "
                f"{begin.min():g} to {begin.max():g}; use `fit_fractional_likelihood`, which "
                "takes one per chain"
            )
            raise RecordError(msg)
        # Squares about the late mean: a far origin would cost digits, and make the squares
        # repeat the mean.
        offset = float(x[:, -1].mean())
        x = x - offset
        curves = np.concatenate([x, np.square(x)], axis=1)
        start = float(begin[0]) - offset
        spread = float(np.square(x[:, -1] - start).mean())
        model = ConfinedMoments(times=elapsed, start=start, spread=spread)
    mean = curves.mean(axis=0)
    covariance, kept = shrunk_covariance(curves)
    whiten = _whitening(covariance, len(x))
    theta = minimise(model, mean, whiten)
    slope = model.jacobian(theta)
    miss = whiten @ (mean - model.values(theta))
    moves = jackknife(whiten @ slope, whiten @ (curves - mean).T, miss, kept)
    if len(x) <= _FEW:
        moves = _second_step(model, curves, theta, moves)
    p_value = misfit_p_value(model, theta, curves, slope)
    if motion == "confined":
        theta[2] += offset
    method = (
        f"moments of the {motion} law on the fractional clock at {len(elapsed)} times, jackknife "
        f"over {len(x)} chains"
    )
    one_sided = bool(theta[0] == 1.0)
    fields = fitted(motion, theta, moves, reference, x.shape, one_sided=one_sided, method=method)
    if motion == "free":
        bias = _BIAS / len(x) * fields["diffusion"]
        fields["diffusion_stderr"] = float(np.hypot(fields["diffusion_stderr"], bias))
    freedom = len(mean) - len(theta)
    return FractionalMomentsFit(
        **fields, misfit=float(miss @ miss) / freedom, misfit_p_value=p_value
    )


def _whitening(covariance: FloatArray, chains: int) -> FloatArray:
    factor = linalg.cholesky(covariance / chains, lower=True)
    whiten = linalg.solve_triangular(factor, np.eye(len(covariance)), lower=True)
    return np.asarray(whiten, dtype=np.float64)


def _second_step(
    model: CurveModel, curves: FloatArray, theta: FloatArray, first: FloatArray
) -> FloatArray:
    # How the parameters change without each chain, from where a first step has led.
    low, high = model.bounds()
    moves = np.empty_like(first)
    for r in range(len(curves)):
        rest = np.delete(curves, r, axis=0)
        whiten = _whitening(shrunk_covariance(rest)[0], len(rest))
        begin = np.clip(theta + first[r], low, high)
        miss = whiten @ (rest.mean(axis=0) - model.values(begin))
        step = np.linalg.lstsq(whiten @ model.jacobian(begin), miss, rcond=1e-12)[0]
        moves[r] = begin + step - theta
    return moves
