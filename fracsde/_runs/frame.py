r"""The coordinates in which a run and a theory meet.

Curvature and noise come either for all weights, :math:`P \times P`, or for the :math:`k` observed
coordinates.  With all weights every direction :math:`V` is served exactly, by
:math:`V^T \Sigma V`.  Where :math:`H V = V \Lambda` to within rounding the directions do not feel
the others, and the law is that of the small matrices

.. math:: Q^T H Q, \qquad Q^T C Q, \qquad Q = \operatorname{orth}(V):

the same numbers, at less cost, and there is a law even where other weights are flat.  Matrices
that come in :math:`k \times k` cannot show whether this holds.  They are taken where the curvature
is diagonal in them, as it is for eigenvectors of ``H``, and refused otherwise.

A run that says nothing of its parameters counts as one of all weights, and so does one that kept
as many numbers as it has parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array, symmetric
from fracsde._leading import LEADING, leading
from fracsde.errors import InputError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fracsde._typing import ArrayLike, FloatArray, IntArray

__all__ = ["Frame", "Seen", "bare_frame", "directions_on", "frame", "refuse_coupled"]

_INVARIANT = 1e-6  # relative part of H V outside the span of V that counts as rounding
_TURNED = 1e6  # condition beyond which directions count as dependent
_DIAGONAL = 1e-6  # relative entries off the diagonal that count as rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the run kept of its weights."""

    width: int
    parameters: int | None  # None where it does not say
    directions: FloatArray | None  # (P, k) of a projection
    indices: IntArray | None  # (k,) of chosen weights

    @property
    def whole(self) -> int:
        """How many weights there are, as far as the run says."""
        return self.width if self.parameters is None else self.parameters

    def __str__(self) -> str:
        kept = f"the {self.width} numbers that the run kept"
        return kept if self.whole == self.width else f"its {self.whole} weights or {kept}"

    @property
    def full(self) -> bool:
        """Whether the numbers that were kept are the weights themselves."""
        return self.directions is None and self.whole == self.width


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Matrices, and the directions along which to measure and to predict."""

    hessian: FloatArray | None  # (m, m), None where it is not known
    gradient_noise: FloatArray | None  # (m, m)
    minimum: FloatArray | None  # (m,)
    measure: FloatArray | None  # (width, p), of what the run kept
    predict: FloatArray | None  # (m, p)
    labels: tuple[str, ...] | None  # None: those of the run
    closed: bool  # whether the directions do not feel other weights
    about: str

    @property
    def eigenvalues(self) -> FloatArray | None:
        """Curvatures of the directions that are compared, (p,), where those are eigenvectors."""
        if self.hessian is None:
            return None
        R = np.eye(len(self.hessian)) if self.predict is None else self.predict
        HR = self.hessian @ R
        values = np.einsum("ij,ij->j", R, HR) / np.einsum("ij,ij->j", R, R)
        stray = np.abs(HR - values * R).max()
        if stray > _INVARIANT * np.abs(HR).max() or not np.all(values > 0.0):
            return None
        return np.asarray(values)

    @property
    def seen_minimum(self) -> FloatArray | None:
        """The minimum in the coordinates that are compared, (p,)."""
        if self.minimum is None or self.predict is None:
            return self.minimum
        return np.asarray(self.minimum @ self.predict)

    @property
    def seen_noise(self) -> FloatArray | None:
        """The noise of one example in the coordinates that are compared, (p, p)."""
        R = self.predict
        if self.gradient_noise is None or R is None:
            return self.gradient_noise
        return _even(R.T @ self.gradient_noise @ R)

    @property
    def seen_hessian(self) -> FloatArray | None:
        """The Hessian that maps those coordinates to their gradients, (p, p); None without one."""
        R = self.predict
        if not self.closed or R is None or self.hessian is None:
            return self.hessian if self.closed else None
        if R.shape[0] != R.shape[1] or np.linalg.cond(R) > _TURNED:
            return None
        # Gradients along V are V^T grad = R^T H R^-T (V^T w), symmetric where V is orthonormal.
        return np.asarray(np.linalg.solve(R, self.hessian.T @ R).T)


def frame(matrices: Mapping[str, ArrayLike], seen: Seen, directions: ArrayLike | None) -> Frame:
    """Find the coordinates in which a run and its matrices meet.

    Parameters
    ----------
    matrices : mapping
        ``hessian``, ``gradient_noise`` and perhaps ``minimum`` and ``directions``.
    seen : Seen
        What the run kept.
    directions : (k, p) array_like, optional
        Of what the run kept: along which to compare.

    Returns
    -------
    Frame

    Raises
    ------
    ShapeError
        If matrices fit neither the weights nor what was kept of them.
    """
    H = symmetric("hessian", matrices["hessian"])
    m = len(H)
    C = symmetric("gradient_noise", matrices["gradient_noise"], size=m)
    given = matrices.get("minimum")
    point = None if given is None else finite_array("minimum", given, shape=(m,))
    chosen = None if directions is None else _columns("directions", directions, seen.width)
    basis = matrices.get("directions")
    if basis is not None:
        return _in_basis(H, C, point, _columns("directions", basis, None), seen, chosen)
    if m == seen.whole:
        return _whole(H, C, point, seen, chosen)
    if m == seen.width:
        return _restricted(H, C, point, chosen)
    msg = f"`hessian` must belong to {seen}, got {m} x {m}; pass matrices of one of these sizes"
    raise ShapeError(msg)


def _whole(
    H: FloatArray, C: FloatArray, point: FloatArray | None, seen: Seen, chosen: FloatArray | None
) -> Frame:
    # Matrices of all weights: V^T Sigma V, or the law of an invariant subspace.
    labels = None
    if seen.directions is not None:
        V = np.asarray(seen.directions, dtype=np.float64)
        V = V if chosen is None else V @ chosen
        about = "directions that the run recorded"
    elif seen.indices is not None and len(seen.indices) < len(H):
        V = np.eye(len(H))[:, seen.indices]
        V = V if chosen is None else V @ chosen
        about = "weights that the run recorded"
    elif chosen is not None:
        V, about = chosen, "directions that were given"
    else:
        V, labels, about = leading(H, C)
        chosen = V
    Q, _ = np.linalg.qr(V)
    HQ = H @ Q
    block = Q.T @ HQ
    outside = float(np.linalg.norm(HQ - Q @ block))
    if outside > _INVARIANT * float(np.linalg.norm(HQ)):
        about += "; the law is that of all weights, looked at along them"
        return Frame(
            hessian=H,
            gradient_noise=C,
            minimum=point,
            measure=chosen,
            predict=V,
            labels=labels,
            closed=False,
            about=about,
        )
    about += "; the curvature maps their span to itself, so that they do not feel the other weights"
    return Frame(
        hessian=0.5 * (block + block.T),
        gradient_noise=_even(Q.T @ C @ Q),
        minimum=None if point is None else Q.T @ point,
        measure=chosen,
        predict=Q.T @ V,
        labels=labels,
        closed=True,
        about=about,
    )


def _restricted(
    H: FloatArray, C: FloatArray, point: FloatArray | None, chosen: FloatArray | None
) -> Frame:
    # Matrices of what was kept, which must be eigenvectors as far as one can see.
    refuse_coupled(H)
    return Frame(
        hessian=H,
        gradient_noise=C,
        minimum=point,
        measure=chosen,
        predict=chosen,
        labels=None,
        closed=True,
        about="recorded coordinates, taken for eigenvectors of the curvature, which is diagonal "
        "in them",
    )


def refuse_coupled(H: FloatArray) -> None:
    """Refuse a Hessian of recorded coordinates that couples them.

    Raises
    ------
    UnsupportedError
        If it is not diagonal.
    """
    stray = np.abs(H - np.diag(H.diagonal())).max()
    if stray > _DIAGONAL * np.abs(H).max():
        msg = (
            f"`hessian` is {len(H)} x {len(H)} in the recorded coordinates and couples them by up "
            f"to {stray:.3g}: whether other weights pull on them cannot be seen from it, and "
            "cutting it down is right for eigenvectors only; pass the matrices of all weights, or "
            "record along eigenvectors of the Hessian"
        )
        raise UnsupportedError(msg)


def _in_basis(
    H: FloatArray,
    C: FloatArray,
    point: FloatArray | None,
    basis: FloatArray,
    seen: Seen,
    chosen: FloatArray | None,
) -> Frame:
    # Matrices in directions of their own.
    if basis.shape[1] != len(H):
        msg = (
            f"`directions` of the curvature must be one column per row of its {len(H)} x {len(H)} "
            f"matrices, got {basis.shape}"
        )
        raise ShapeError(msg)
    if seen.directions is not None:
        D = np.asarray(seen.directions, dtype=np.float64)
        if D.shape != basis.shape or np.abs(D - basis).max() > 1e-5 * np.abs(basis).max():
            msg = (
                "the run was recorded along other directions than those of its curvature; pass "
                "the matrices of all weights, or those in the recorded directions"
            )
            raise InputError(msg)
        return _restricted(H, C, point, chosen)
    if seen.width != len(basis):
        msg = (
            f"directions of the curvature have {len(basis)} rows, and the run kept {seen.width} "
            "numbers that are not those weights; pass the matrices of all weights"
        )
        raise ShapeError(msg)
    if chosen is not None:
        msg = (
            "`directions` cannot be chosen where the curvature is known along its own directions "
            "only; leave them out, or pass the matrices of all weights"
        )
        raise InputError(msg)
    found = _restricted(H, C, point, None)
    return Frame(
        hessian=found.hessian,
        gradient_noise=found.gradient_noise,
        minimum=point,
        measure=basis,
        predict=None,
        labels=tuple(f"e{i + 1}" for i in range(len(H))),
        closed=True,
        about="directions of the attached curvature, in which it is diagonal",
    )


def directions_on(
    dimension: int | None, seen: Seen, measure: FloatArray | None
) -> FloatArray | None:
    """Return what is compared as directions of a theory's own coordinates.

    Parameters
    ----------
    dimension : int or None
        Of the theory: all weights, or the numbers that were recorded; None where it has none.
    seen : Seen
        What the run kept.
    measure : (width, p) ndarray, optional
        Directions of what was kept.

    Returns
    -------
    (dimension, p) ndarray or None
        None where each coordinate is compared by itself.

    Raises
    ------
    ShapeError
        If the theory belongs to neither.
    """
    if dimension is None:
        return measure
    if dimension == seen.whole:
        kept = seen.directions
        if kept is None and seen.indices is not None and len(seen.indices) < dimension:
            kept = np.eye(dimension)[:, seen.indices]
        if kept is None or measure is None:
            return measure if kept is None else np.asarray(kept, dtype=np.float64)
        return np.asarray(kept @ measure)
    if dimension == seen.width:
        return measure
    msg = f"it must describe {seen}, got one of {dimension} coordinates"
    raise ShapeError(msg)


def bare_frame(seen: Seen, directions: ArrayLike | None, *, as_recorded: bool) -> Frame:
    """Return the coordinates of a comparison in which no curvature is known.

    Parameters
    ----------
    seen : Seen
        What the run kept.
    directions : (k, p) array_like, optional
        Of what the run kept.
    as_recorded : bool
        Whether any number of weights is compared one by one where no directions are given.

    Returns
    -------
    Frame

    Raises
    ------
    InputError
        If there are too many weights to compare each.
    """
    chosen = None if directions is None else _columns("directions", directions, seen.width)
    if chosen is None and not as_recorded and seen.full and seen.width > LEADING:
        msg = (
            f"along which of its {seen.width} weights a run is compared must be said where no "
            "Hessian is known: pass `directions`, one per column, or `hessian`, whose leading "
            "eigenvectors are then taken"
        )
        raise InputError(msg)
    about = "numbers that the run recorded" if chosen is None else "directions that were given"
    return Frame(
        hessian=None,
        gradient_noise=None,
        minimum=None,
        measure=chosen,
        predict=None,
        labels=None,
        closed=chosen is None and seen.full,
        about=about,
    )


def _columns(name: str, value: ArrayLike, rows: int | None) -> FloatArray:
    V = finite_array(name, value, ndim=(1, 2), remedy="one direction per column")
    if V.ndim == 1:
        V = V[:, None]
    V = finite_array(name, V, shape=(rows, None), remedy="one row per number that the run kept")
    if V.shape[1] == 0 or not np.all(np.any(V != 0.0, axis=0)):
        msg = f"`{name}` must hold at least one column and none that is zero, got {V.shape}"
        raise ShapeError(msg)
    return V


def _even(matrix: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (matrix + matrix.T))
