"""What checkpoints of systems hold: what a computation is of, and intervals as arrays.

A right-hand side is known by its values at the start for three times, and by what its matrix makes
of two vectors.

Not here: when and where they are saved (:mod:`fracsde.schemes.keeping`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._ode.memory import Left
from fracsde._ode.pieces import Piece
from fracsde.schemes.checkpoint import words_of
from fracsde.schemes.keeping import taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._ode.tables import Basis
    from fracsde._typing import FloatArray
    from fracsde.problems.fractional_ode import FractionalODE

__all__ = ["intervals_of", "pack", "system_marks"]


def system_marks(
    problem: FractionalODE, scheme: Any, times: FloatArray, *, kind: str
) -> dict[str, FloatArray]:
    """Return what the solution of a system is of, as arrays.

    Parameters
    ----------
    problem : FractionalODE
        The system.
    scheme : Adaptive or ConvolutionScheme
        Known by its text.
    times : (N + 1,) float64 [t]
        The mesh, or both ends.
    kind : str
        What computes it.

    Returns
    -------
    dict of str to ndarray
    """
    seen = [problem.value(float(t), problem.initial) for t in np.linspace(0.0, times[-1], 3)]
    if problem.linear is not None:
        cells = np.arange(float(problem.dimension))
        seen += [problem.linear @ probe for probe in (np.ones_like(cells), np.sin(1.0 + cells))]
    marks = {
        "rates": np.concatenate([np.asarray(one, dtype=np.float64) for one in seen]),
        "start": np.array(problem.initial),
        "mesh": np.array(times),
    }
    orders = " ".join(float(alpha).hex() for alpha in problem.alpha)
    return marks | words_of(scheme=scheme, alpha=orders, kind=kind)


def pack(pieces: Sequence[Piece], lefts: Sequence[Left]) -> dict[str, FloatArray]:
    """Return intervals as arrays: the first, which is of its own kind, and all others in stacks.

    Parameters
    ----------
    pieces, lefts : sequence
        Of the same intervals.

    Returns
    -------
    dict of str to ndarray
    """
    arrays = {"spans": np.array([(piece.start, piece.length) for piece in pieces])}
    for name, part in (("first", slice(0, 1)), ("later", slice(1, None))):
        some = pieces[part]
        if not some:
            continue
        arrays |= {
            f"{name}_before": np.stack([piece.before for piece in some]),
            f"{name}_states": np.stack([piece.states for piece in some]),
            f"{name}_slopes": np.stack([piece.slopes for piece in some]),
            f"{name}_errors": np.stack([piece.errors for piece in some]),
            f"{name}_smooth": np.stack([piece.smooth for piece in some]).astype(np.float64),
            f"{name}_left": np.stack([left.slopes for left in lefts[part]]),
        }
    return arrays


def intervals_of(
    arrays: dict[str, FloatArray], first: Basis, later: Basis, components: int
) -> tuple[list[Piece], list[Left]]:
    """Return the intervals that :func:`pack` made arrays of.

    Parameters
    ----------
    arrays : dict of str to ndarray
        The arrays.
    first, later : Basis
        Basis functions of the first interval and of the others.
    components : int
        Of the system.

    Returns
    -------
    list of Piece
    list of Left
    """
    pieces, lefts = [], []
    spans = taken(arrays, "spans", (len(arrays["spans"]), 2))
    for name, basis, part in (("first", first, spans[:1]), ("later", later, spans[1:])):
        if not len(part):
            continue
        n = components
        inside, count = (len(part), len(basis.nodes), n), len(part)
        before, smooth = (
            taken(arrays, f"{name}_{key}", (count, n)) for key in ("before", "smooth")
        )
        states, slopes, errors = (
            taken(arrays, f"{name}_{key}", inside) for key in ("states", "slopes", "errors")
        )
        kept = taken(arrays, f"{name}_left", (count, len(basis.nodes) + 1, 2 * n))
        for i, (start, length) in enumerate(part.tolist()):
            pieces.append(
                Piece(
                    start=start,
                    length=length,
                    basis=basis,
                    before=before[i],
                    states=states[i],
                    slopes=slopes[i],
                    errors=errors[i],
                    smooth=smooth[i] != 0.0,
                )
            )
            lefts.append(Left(basis=basis, length=length, slopes=kept[i]))
    return pieces, lefts
