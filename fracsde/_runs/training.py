"""How a run was trained: what its record says, what the caller says, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import InputError, RecordError, UnsupportedError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["Training", "constant_rate", "read_training"]

_OPTIONAL: Mapping[str, Any] = {
    "momentum": 0.0,
    "dampening": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "dataset_size": None,
    "drop_last": False,
}
_SINGLE = 1e-6
_SAMPLING = ("with_replacement", "without_replacement", "shuffled", "unknown")


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings of an SGD run, as :class:`~fracsde.problems.sgd.SGDNearMinimum` takes them."""

    values: Mapping[str, Any]
    sources: Mapping[str, str]  # where each came from
    notes: tuple[str, ...]  # what a reader of the verdict must know
    optimizer: str = "SGD"

    @property
    def shuffled(self) -> bool:
        """Whether batches are blocks of shuffled epochs."""
        return bool(self.values["sampling"] == "shuffled")


def read_training(
    recorded: object,
    given: Mapping[str, Any],
    streamed_rate: float | None = None,
    *,
    needed: bool = True,
) -> Training:
    """Return the settings of a run; what the caller says goes before what was recorded.

    Parameters
    ----------
    recorded : mapping
        ``metadata["training"]`` of the run, empty where there is none.
    given : mapping
        What the caller said; None where nothing.
    streamed_rate : float, optional [weight^2/loss]
        The constant rate that was recorded step by step over the window.
    needed : bool
        Whether a law is to be made of them; otherwise the optimiser may be another one, and what
        is known from nowhere is left out.

    Returns
    -------
    Training

    Raises
    ------
    InputError
        If the learning rate or the batch size is known from nowhere.
    UnsupportedError
        If the optimiser is not SGD.
    """
    known = _plain(recorded)
    if needed:
        _require_sgd(known.get("optimizer", "SGD"))
    if streamed_rate is not None and not _same(known.get("learning_rate"), streamed_rate):
        known["learning_rate"] = streamed_rate
    if isinstance(known.get("learning_rate"), (list, tuple)):
        del known["learning_rate"]  # one per parameter group; the caller must choose
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    notes: list[str] = []
    for name in ("learning_rate", "batch_size", *_OPTIONAL, "sampling"):
        said, found = given.get(name), known.get(name)
        if said is not None:
            values[name], sources[name] = said, "given"
            if found not in (None, "unknown") and not _same(found, said):
                notes.append(f"`{name}` was given as {said!r} where the run recorded {found!r}")
        elif found is not None:
            streamed = name == "learning_rate" and found is streamed_rate
            values[name], sources[name] = found, "stream" if streamed else "run"
        elif name in _OPTIONAL:
            values[name], sources[name] = _OPTIONAL[name], "default"
    missing = [name for name in ("learning_rate", "batch_size") if name not in values]
    if missing and needed:
        names = " and ".join(f"`{name}`" for name in missing)
        silent = (
            f'the run does not say: its metadata has no {", ".join(missing)} under "training"'
            if known
            else "nothing says it"
        )
        msg = f"{names} must be known, and {silent}; pass " + ", ".join(
            f"{name}=..." for name in missing
        )
        raise InputError(msg)
    notes += _sampling(values, sources) if needed else _unknown_sampling(values, sources)
    return Training(
        values=values,
        sources=sources,
        notes=tuple(notes),
        optimizer=str(known.get("optimizer", "SGD")),
    )


def _plain(recorded: object) -> dict[str, Any]:
    if recorded is None:
        return {}
    if not isinstance(recorded, Mapping):
        msg = (
            'metadata["training"] must be a mapping of names to values, got '
            f"{type(recorded).__name__}; pass the settings as arguments instead"
        )
        raise InputError(msg)
    return {str(name): value for name, value in recorded.items() if value is not None}


def _same(one: object, other: object) -> bool:
    # A rate that was stored in single precision is the rate that was set.
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers):
        return bool(abs(one - other) <= _SINGLE * abs(other))
    return one == other


def _require_sgd(optimizer: object) -> None:
    if optimizer != "SGD":
        msg = (
            f"the run was trained by {optimizer!r}, and these laws are those of SGD with momentum; "
            "adaptive_near_minimum(...) has the law of Adam, RMSprop and Adagrad near a minimum: "
            "pass its `process` as `theory`"
        )
        raise UnsupportedError(msg)


def _sampling(values: dict[str, Any], sources: dict[str, str]) -> list[str]:
    # Settle how batches are drawn, and say what that assumes.
    if _how(values) == "unknown":
        values["sampling"], sources["sampling"] = "with_replacement", "assumed"
        return [
            "how batches were drawn is unknown: the verdict assumes independent batches; a loader "
            "that reshuffles each epoch needs sampling='shuffled'"
        ]
    return []


def _unknown_sampling(values: dict[str, Any], sources: dict[str, str]) -> list[str]:
    # Where no law of the run's settings is on trial nothing has to be assumed.
    if _how(values) == "unknown":
        values["sampling"], sources["sampling"] = "unknown", "unknown"
    return []


def _how(values: Mapping[str, Any]) -> str:
    how = values.get("sampling", "unknown")
    if how not in _SAMPLING:
        msg = f"`sampling` must be one of {', '.join(map(repr, _SAMPLING))}, got {how!r}"
        raise InputError(msg)
    return str(how)


def constant_rate(rates: FloatArray, steps: IntArray) -> float:
    """Return the learning rate of a window, which must not change in it.

    Parameters
    ----------
    rates : (chain, draw) float64 [weight^2/loss]
        What was recorded.
    steps : (draw,) int64 [step]
        When.

    Returns
    -------
    float

    Raises
    ------
    RecordError
        If it changes; names the longest window in which it does not.
    """
    if np.ptp(rates) <= _SINGLE * np.abs(rates).max():  # single precision may have been stored
        return float(rates[0, 0])
    if np.ptp(rates[:, 0]) > _SINGLE * np.abs(rates[:, 0]).max():
        msg = (
            f"all chains must have one learning rate, got {rates[:, 0].min():g} to "
            f"{rates[:, 0].max():g} at step {steps[0]}; compare them one by one with `chains`"
        )
        raise RecordError(msg)
    same = np.all(np.abs(np.diff(rates, axis=1)) <= _SINGLE * np.abs(rates[:, 1:]), axis=0)
    edges = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
    longest = int(np.argmax(np.diff(edges)))
    first, last = int(edges[longest]), int(edges[longest + 1]) - 1
    low, high = float(rates.min()), float(rates.max())
    remedy = (
        f"it is {rates[0, first]:g} from step {steps[first]} to {steps[last]}: pass "
        f"burn_in={steps[first]}, stop={steps[last]}"
        if last > first
        else "it never stays the same for two recorded steps: record a part at a constant rate"
    )
    msg = (
        f"the learning rate must not change in the window, and it runs from {low:g} to {high:g}; "
        f"{remedy}"
    )
    raise RecordError(msg)
