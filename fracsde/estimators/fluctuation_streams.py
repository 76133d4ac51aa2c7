"""What a run keeps of weights, gradients and velocities, read for the fluctuation relations.

A stored run or a mapping of arrays becomes arrays with axes (chain, draw); of whole vectors weights
are counted from their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice
from fracsde.errors import InputError, RecordError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["products_of_streams", "stream", "streams_of", "velocity_of"]

_HELD = 1 << 26  # entries of whole vectors that are read: half a gigabyte
_VELOCITIES = {"(loss/weight)**2": "buffer", "weight**2": "step"}
_NORMS = ("weight_dot_gradient", "gradient_norm_squared")


def streams_of(run: Any) -> tuple[dict[str, FloatArray], Mapping[str, Any]]:
    """Return the arrays that relations are measured from, and what the run says of itself.

    Returns
    -------
    streams : dict of str to ndarray
        ``(chain, draw)``, vectors ``(chain, draw, P)``.
    told : mapping
        The settings of its training.

    Raises
    ------
    InputError
        If it is neither a run nor a mapping.
    UnsupportedError
        If its learning rate changed.
    """
    if isinstance(run, Mapping):
        return {name: _rows(name, values) for name, values in run.items()}, {}
    if not all(hasattr(run, name) for name in ("array", "chains", "streams")):
        msg = (
            "`run` must be a stored run or a mapping from stream names to arrays, got "
            f"{type(run).__name__}"
        )
        raise InputError(msg)
    told = dict(run.metadata).get("training", {})
    found = {}
    for name in (*_NORMS, "velocity_norm_squared", "weight_norm_squared"):
        if name in run.streams:
            found[name] = _of_chains(run, name)
    found |= _whole_vectors(run)
    if "learning_rate" in run.streams:
        there = np.concatenate([run.array("learning_rate", c).ravel() for c in run.chains])
        rates = np.unique(there[~np.isnan(there)])  # the start has none
        if len(rates) > 1:
            msg = (
                f"the learning rate of the run changed, from {rates[0]:g} to {rates[-1]:g}: no law "
                "is stationary; measure a part at one rate, as a mapping of arrays"
            )
            raise UnsupportedError(msg)
        if len(rates):
            told = {"learning_rate": float(rates[0]), **told}
    return found, told


def velocity_of(run: Any, asked: str | None) -> str:
    """Return what the velocities of a run are: torch's buffers or steps of the weights.

    Parameters
    ----------
    run : StoredRun or mapping
        The run; the unit of its stream says which, ``"(loss/weight)**2"`` or ``"weight**2"``.
    asked : {"buffer", "step"}, optional
        What the caller says, which counts more.

    Returns
    -------
    str
        ``"buffer"`` where nobody says.

    Raises
    ------
    InputError
        If the unit is neither.
    """
    if asked is not None:
        return choice("velocity", asked, tuple(_VELOCITIES.values()))
    name = "velocity_norm_squared"
    if isinstance(run, Mapping) or name not in run.streams:
        return "buffer"
    unit = run.streams[name].unit
    if unit not in _VELOCITIES:
        msg = (
            f"the run keeps {name!r} in units of {unit!r}, which is neither torch's buffer, "
            "'(loss/weight)**2', nor the step of the weights, 'weight**2'; say which by `velocity`"
        )
        raise InputError(msg)
    return _VELOCITIES[unit]


def _whole_vectors(run: Any) -> dict[str, FloatArray]:
    # Weights before each step and its gradient, where a run kept all of both at every step.
    names = ("weights", "gradients")
    if not all(name in run.streams for name in names) or run.observation.kind != "full":
        return {}
    steps = [np.asarray(run.steps(chain)) for chain in run.chains]
    each = len(steps[0])
    if each < 2 or any(not np.array_equal(s, np.arange(each)) for s in steps):
        return {}
    if len(steps) * each * int(run.parameters) > _HELD:
        return {}
    w, g = ([np.asarray(run.array(n, c), dtype=np.float64) for c in run.chains] for n in names)
    return {"weights": np.stack(w)[:, :-1], "gradients": np.stack(g)[:, 1:]}


def _of_chains(run: Any, name: str) -> FloatArray:
    # Step 0 has no gradient yet.
    rows = []
    for chain in run.chains:
        values = np.asarray(run.array(name, chain), dtype=np.float64)[:, 0]
        rows.append(values[np.asarray(run.steps(chain)) > 0])
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        msg = (
            f"chains of the run have unequal lengths, {lengths} rows of {name!r}; pass a mapping "
            "of arrays cut to the shortest"
        )
        raise RecordError(msg)
    return np.stack(rows)


def _rows(name: str, values: Any) -> FloatArray:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name!r} must be an array of numbers, chains of one length: {error}"
        raise InputError(msg) from error
    wanted = 3 if name in {"weights", "gradients"} else 2
    found = found[None] if found.ndim == wanted - 1 else found
    if found.ndim != wanted or found.size == 0:
        axes = "(chain, draw, P)" if wanted == 3 else "(chain, draw)"
        msg = f"{name!r} must have axes {axes}, got shape {np.shape(values)}"
        raise ShapeError(msg)
    return found


def stream(streams: Mapping[str, FloatArray], name: str, why: str) -> FloatArray:
    """Return a stream, or say why it is needed.

    Returns
    -------
    ndarray

    Raises
    ------
    RecordError
        If it is not there.
    """
    if name not in streams:
        msg = f"the run has no stream {name!r}: {why}; record it"
        raise RecordError(msg)
    return streams[name]


def products_of_streams(
    streams: Mapping[str, FloatArray], decay: float
) -> tuple[FloatArray, FloatArray]:
    """Return ``w . g`` and ``|g|^2``, with the weight decay in ``g``.

    Returns
    -------
    cross, square : (chain, draw) float64

    Raises
    ------
    ShapeError
        If the arrays do not have one shape.
    """
    if "weights" in streams and "gradients" in streams:
        w, g = streams["weights"], streams["gradients"]
        if w.shape != g.shape:
            msg = f"'weights' and 'gradients' must have one shape, got {w.shape} and {g.shape}"
            raise ShapeError(msg)
        g = g + decay * w
        w = w - w.mean(axis=(0, 1))
        return np.einsum("cdp,cdp->cd", w, g), np.einsum("cdp,cdp->cd", g, g)
    pair = [stream(streams, name, "the relation is about it") for name in _NORMS]
    if pair[0].shape != pair[1].shape:
        msg = f"streams must have one shape, got {pair[0].shape} and {pair[1].shape}"
        raise ShapeError(msg)
    cross, square = pair
    if decay > 0.0:
        weight = stream(streams, "weight_norm_squared", f"the weight decay {decay:g} needs it")
        square = square + 2.0 * decay * cross + decay**2 * weight
        cross = cross + decay * weight
    return cross, square
