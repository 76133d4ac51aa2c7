"""What a run keeps of weights, gradients and velocities, read for the fluctuation relations.

A stored run or a mapping of arrays becomes arrays with axes (chain, draw); of whole vectors weights
are counted from their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fracsde._check import choice, finite_array, real, truth
from fracsde.errors import InputError, RecordError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    from fracsde._typing import BoolArray, FloatArray

__all__ = [
    "Settings",
    "may_be_consecutive",
    "products_of_streams",
    "settings_of",
    "settings_of_series",
    "stream",
    "streams_of",
    "velocity_of",
]

_SAME = ("batch_size", "dataset_size", "sampling")
_HELD = 1 << 26  # entries of whole vectors that are read: half a gigabyte
_VELOCITIES = {"(loss/weight)**2": "buffer", "weight**2": "step"}
_GAPS = 0.02  # of the distances between draws: windows of fifty
_NORMS = ("weight_dot_gradient", "gradient_norm_squared")
_MORE = ("velocity_norm_squared", "weight_norm_squared", "loss_gradient_norm_squared")


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
    said = dict(run.metadata).get("training")
    told: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    found = {}
    for name in (*_NORMS, *_MORE):
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
    # Step 0 has no gradient yet, and others none where a schedule left them out.
    rows = []
    for chain in run.chains:
        values = np.asarray(run.array(name, chain), dtype=np.float64)[:, 0]
        rows.append(values[_there(run, name, chain)])
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        msg = (
            f"chains of the run have unequal lengths, {lengths} rows of {name!r}; pass a mapping "
            "of arrays cut to the shortest"
        )
        raise RecordError(msg)
    return np.stack(rows)


def _there(run: Any, name: str, chain: int) -> BoolArray:
    there = np.asarray(run.steps(chain)) > 0
    return there & run.present(name, chain) if hasattr(run, "present") else there


def may_be_consecutive(run: Any) -> bool:
    """Return whether the draws of a run are consecutive steps, or windows of such.

    Returns
    -------
    bool
        Of arrays, which do not say their steps, true.
    """
    if isinstance(run, Mapping):
        return True
    name = _NORMS[1] if _NORMS[1] in run.streams else "gradients"
    steps = [np.asarray(run.steps(chain))[_there(run, name, chain)] for chain in run.chains]
    return all(np.mean(np.diff(each) != 1) <= _GAPS for each in steps if len(each) > 1)


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
    found = [stream(streams, name, "the relation is about it") for name in _NORMS]
    if decay > 0.0:
        why = f"the weight decay {decay:g} needs it"
        found.append(stream(streams, "weight_norm_squared", why))
    shapes = [str(values.shape) for values in found]
    if len(set(shapes)) > 1:
        msg = f"streams must have one shape, got {' and '.join(shapes)}"
        raise ShapeError(msg)
    cross, square = found[:2]
    if decay > 0.0:
        square = square + 2.0 * decay * cross + decay**2 * found[2]
        cross = cross + decay * found[2]
    return cross, square


class Settings(NamedTuple):
    """Of an optimiser: SGD with one rate for all weights."""

    learning_rate: float
    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool


def settings_of(
    told: Mapping[str, Any],
    learning_rate: float | None,
    momentum: float | None,
    dampening: float | None,
    weight_decay: float | None,
    nesterov: bool | None,
) -> Settings:
    """Return the settings of an optimiser: as given, else as the run says.

    Returns
    -------
    Settings

    Raises
    ------
    InputError
        If the rate is not known, dampening is given without momentum, or Nesterov's momentum
        without any or with dampening.
    UnsupportedError
        If the optimiser is not SGD with one rate for all weights.
    """
    given = {"learning_rate": learning_rate, "momentum": momentum, "dampening": dampening}
    given |= {"weight_decay": weight_decay, "nesterov": nesterov}
    values = {name: told.get(name) if value is None else value for name, value in given.items()}
    if told.get("optimizer", "SGD") != "SGD":
        msg = (
            f"the relation is that of SGD, with or without momentum, not of {told['optimizer']}; "
            "of an adaptive method ask the theory, fracsde.adaptive_near_minimum"
        )
        raise UnsupportedError(msg)
    if told.get("groups") or told.get("maximize"):
        what = "parameter groups that differ" if told.get("groups") else "maximize=True"
        msg = f"the relation is that of one rate for all weights, downhill; the run has {what}"
        raise UnsupportedError(msg)
    if values["learning_rate"] is None:
        msg = "`learning_rate` is not known: the run does not say it; pass it"
        raise InputError(msg)
    eta = real("learning_rate", values["learning_rate"], low=0.0)
    mu = real("momentum", values["momentum"] or 0.0, low=0.0, high=1.0, closed="low")
    tau = real("dampening", values["dampening"] or 0.0, low=0.0, high=1.0, closed="low")
    decay = real("weight_decay", values["weight_decay"] or 0.0, low=0.0, closed="low")
    ahead = truth("nesterov", values["nesterov"] or False)
    if tau > 0.0 and mu == 0.0:
        msg = (
            "`dampening` without momentum: torch does not apply it, other optimisers do; put it "
            "into the learning rate if yours does, else leave it out"
        )
        raise InputError(msg)
    if ahead and (mu == 0.0 or tau > 0.0):
        msg = (
            f"`nesterov` needs momentum and no dampening, got momentum={mu:g} and "
            f"dampening={tau:g}; pass those of the run"
        )
        raise InputError(msg)
    return Settings(eta, mu, tau, decay, ahead)


def settings_of_series(
    told: list[Mapping[str, Any]],
    learning_rates: Any,
    given: tuple[float | None, float | None, float | None, bool | None],
) -> list[Settings]:
    """Return :func:`settings_of` for runs that differ in their rates alone.

    Parameters
    ----------
    told : list of mapping
        What each run says of its training.
    learning_rates : (run,) array_like or None
        As given.
    given : tuple
        Momentum, dampening, weight decay and whether it looks ahead, as given.

    Returns
    -------
    list of Settings

    Raises
    ------
    InputError
        If settings differ.
    ShapeError
        If there is not one rate per run.
    """
    _check_alike(told)
    rates: list[float | None] = [None] * len(told)
    if learning_rates is not None:
        array = finite_array("learning_rates", learning_rates, ndim=1)
        if len(array) != len(told):
            msg = f"`learning_rates` must be one per run, got {len(array)} for {len(told)} runs"
            raise ShapeError(msg)
        rates = array.tolist()
    found = [settings_of(each, rate, *given) for each, rate in zip(told, rates, strict=True)]
    others = sorted({row[1:] for row in found})
    if len(others) > 1:
        msg = (
            "runs of a series differ in the learning rate alone, got (momentum, dampening, weight "
            f"decay, nesterov) of {' and '.join(str(other) for other in others)}"
        )
        raise InputError(msg)
    return found


def _check_alike(told: list[Mapping[str, Any]]) -> None:
    # What runs say of themselves must be the same wherever two of them say it.
    for name in _SAME:
        said = sorted({str(each[name]) for each in told if each.get(name) is not None})
        if len(said) > 1:
            msg = (
                f"runs of a series differ in the learning rate alone, got {name!r} of "
                f"{' and '.join(said)}; leave out those that differ"
            )
            raise InputError(msg)
    if any(each.get("sampling") == "shuffled" for each in told):
        msg = (
            "the relation needs noise that is independent from step to step, and the runs shuffle "
            "epochs, whose batches remember one another; draw batches with replacement, or ask "
            "fluctuation_dissipation of each run"
        )
        raise UnsupportedError(msg)
