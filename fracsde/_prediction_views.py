"""A stationary law along directions: what :func:`fracsde.predict` reads its numbers from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, finite_array
from fracsde._leading import moving
from fracsde.closure import GaussianClosure
from fracsde.errors import InputError, ShapeError, UnsupportedError
from fracsde.problems.epochs import EpochRecursion
from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.stationary import phase_covariance, stationary_covariance
from fracsde.stationary_large import stationary_variance_along

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["LAWS", "View", "at_phases", "view_of"]

LAWS = ("map", "epochs", "independent", "flow", "underdamped", "kunin")
"""Laws of SGD near a minimum that can predict a run, see :func:`fracsde.predict`."""

_EPS = float(np.finfo(np.float64).eps)
_CLOSURE_ERRORS = 3.0
_LARGE = (MatrixFreeSGD, MatrixFreeOU, DiagonalOU, LowRankOU)


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """The stationary law along directions, and what else to ask of it."""

    directions: FloatArray  # (k, p), of the observed coordinates
    mean: FloatArray  # (p,)
    covariance: FloatArray | None  # (p, p), None where only its diagonal is known
    variances: FloatArray  # (p,)
    error: FloatArray  # (p,), of the variances
    process: Any  # with autocovariances, None where there are none
    name: str


def view_of(
    theory: Any, law: str | None, directions: ArrayLike | None, *, only_diagonal: bool
) -> View:
    """Look at a theory's stationary law along directions.

    Parameters
    ----------
    theory, law, directions
        As for :func:`fracsde.predict`.
    only_diagonal : bool
        Whether means and variances suffice.

    Returns
    -------
    View

    Raises
    ------
    InputError
        If a law is asked of what is no SGD.
    """
    if law is not None and not isinstance(theory, (SGDNearMinimum, QuadraticLossSGD)):
        msg = f"`law` chooses among those of SGD near a minimum; {type(theory).__name__} is its own"
        raise InputError(msg)
    if isinstance(theory, GaussianClosure):
        return _closure_view(theory, directions)
    if isinstance(theory, _LARGE):
        return _large_view(theory, directions, only_diagonal=only_diagonal)
    process, name = _dense_process(theory, law)
    found = stationary_covariance(process)
    k = len(found.matrix)
    V = np.eye(k) if directions is None else _columns(directions, k)
    covariance = V.T @ found.matrix @ V
    covariance = 0.5 * (covariance + covariance.T)
    variances = covariance.diagonal().copy()
    lengths = np.einsum("dp,dp->p", V, V)
    error = found.error_estimate * lengths + 4.0 * _EPS * np.sqrt(k) * np.abs(variances)
    return View(
        directions=V,
        mean=_mean(process) @ V,
        covariance=covariance,
        variances=variances,
        error=error,
        process=process,
        name=name,
    )


def _dense_process(theory: Any, law: str | None) -> tuple[Any, str]:
    # What stands for the theory, and its name in reports.
    if law is not None:
        choice("law", law, LAWS)
    if isinstance(theory, QuadraticLossSGD):
        if law is None:
            return theory, "state-dependent noise"
        theory = theory.near_minimum()
    if isinstance(theory, SGDNearMinimum):
        shuffled = theory.sampling == "shuffled"
        law = ("epochs" if shuffled else "map") if law is None else law
        if law == "independent":
            if not shuffled:
                return theory, "map"
            apart = replace(theory, sampling="without_replacement", drop_last=False)
            return apart, "independent"
        if law in {"map", "epochs"}:
            _ = theory.map() if law == "map" else theory.epochs()  # refuses what is not there
            return theory, law
        return theory.flow(limit="overdamped" if law == "flow" else law), law
    if isinstance(theory, EpochRecursion):
        return theory, "epochs"
    if isinstance(theory, (OUProcess, LinearRecursion)):
        return theory, ""
    msg = (
        "`theory` must be an SGDNearMinimum, SGD on quadratic losses, an OUProcess, a "
        "LinearRecursion, an EpochRecursion, a process of `stationary_variance_along` or a "
        f"GaussianClosure, got {type(theory).__name__}; wrap a Hessian and gradient noise as "
        "SGDNearMinimum(hessian=H, gradient_noise=C, ...)"
    )
    raise InputError(msg)


def _mean(process: Any) -> FloatArray:
    if isinstance(process, (SGDNearMinimum, QuadraticLossSGD)):
        return np.asarray(process.minimum, dtype=np.float64)
    mean = np.broadcast_to(process.mean, (process.dimension,))
    return np.asarray(mean[process.observed], dtype=np.float64)


def _large_view(theory: Any, directions: ArrayLike | None, *, only_diagonal: bool) -> View:
    if not only_diagonal:
        msg = (
            f"{type(theory).__name__} knows means, variances and standard deviations only; pass "
            "theory.dense() where it fits in memory"
        )
        raise UnsupportedError(msg)
    if directions is None:
        msg = (
            "`directions` must be given for a process without dense matrices, one per column; "
            "np.eye(d)[:, :10] are the first ten weights"
        )
        raise InputError(msg)
    V = _columns(directions, theory.dimension)
    found = stationary_variance_along(theory, V)
    centre = theory.minimum if isinstance(theory, MatrixFreeSGD) else theory.mean
    return View(
        directions=V,
        mean=np.broadcast_to(centre, (theory.dimension,)) @ V,
        covariance=None,
        variances=found.values,
        error=found.error_bounds,
        process=None,
        name="map" if isinstance(theory, MatrixFreeSGD) else "",
    )


def _closure_view(closure: GaussianClosure, directions: ArrayLike | None) -> View:
    leading = closure.minimum.leading
    process: LinearRecursion | None = closure.law()  # refuses where there is none
    V = leading if directions is None else _columns(directions, len(leading))
    inside = leading.T @ V
    if np.linalg.norm(V - leading @ inside) > 1e-8 * np.linalg.norm(V):
        process = None
    covariance = V.T @ (closure.operator() @ V)
    covariance = 0.5 * (covariance + covariance.T)
    moves = moving(closure.variances)
    worst = float((closure.variance_stderr[moves] / closure.variances[moves]).max())
    worst *= _CLOSURE_ERRORS
    return View(
        directions=inside,
        mean=closure.mean @ V,
        covariance=covariance,
        variances=covariance.diagonal().copy(),
        error=worst * covariance.diagonal(),
        process=process,
        name="closure",
    )


def _columns(directions: ArrayLike, dimension: int) -> FloatArray:
    remedy = "one direction per column, one row per coordinate of the theory"
    V = finite_array("directions", directions, ndim=(1, 2), remedy=remedy)
    if V.ndim == 1:
        V = V[:, None]
    V = finite_array("directions", V, shape=(dimension, None), remedy=remedy)
    if V.shape[1] == 0:
        msg = f"`directions` must hold at least one column, got {V.shape}"
        raise ShapeError(msg)
    return V


def at_phases(view: View, phases: ArrayLike) -> View:
    """Return the law of some phases of an epoch, averaged over them.

    Returns
    -------
    View

    Raises
    ------
    InputError
        If there are no epochs.
    """
    if view.name != "epochs":
        msg = "`phases` are those of shuffled epochs; leave them out of any other law"
        raise InputError(msg)
    V = view.directions
    covariance = V.T @ phase_covariance(view.process, phases).mean(axis=0) @ V
    return replace(
        view, covariance=covariance, variances=covariance.diagonal().copy(), process=None
    )
