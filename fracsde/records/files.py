r"""Files of measurements, of predictions and of matrices, all read without running anything.

Measurements and predictions are JSON objects with a schema:

.. code-block:: json

    {
      "schema": {"name": "fracsde measurements", "version": 1},
      "about": {"run": "run", "window": [100, 2000]},
      "measurements": [
        {"name": "stationary variance", "unit": "weight^2", "labels": ["e1", "e2"],
         "value": [1.2, 0.7], "stderr": [0.01, 0.02], "n_effective": [64.0, 64.0],
         "method": "spread across 64 chains"}
      ]
    }

Numbers are written with all their digits, so that what is read is bit for bit what was written.
A prediction has ``numerical_error``, ``theory`` and ``scale`` in place of the last three.

Matrices come as ``.npy``, ``.npz``, ``.mat`` up to version 7, ``.zarr``, ``.csv`` or ``.txt``.
Files may come from anybody: nothing is unpickled, and lengths are checked against the file before
memory is taken.  Whether a matrix is symmetric or positive is for the theory to ask.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fracsde._files import replace_file
from fracsde.errors import InputError, RecordError
from fracsde.records._matrix_files import arrays_in
from fracsde.records.measurement import Measurement, Prediction, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fracsde._typing import FloatArray

__all__ = [
    "as_json",
    "read_matrix",
    "read_measurements",
    "read_predictions",
    "write_measurements",
    "write_predictions",
]

_VERSION = 1
_ODD = "backslashreplace"  # names that are no Unicode, which JSON escapes in the same way
_LARGEST = 1 << 28  # bytes of a file of numbers written as text
_Noun = TypeVar("_Noun", Measurement, Prediction)
_FIELDS: dict[type[Any], tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    # plural, arrays, words
    Measurement: ("measurements", ("value", "stderr", "n_effective"), ("method",)),
    Prediction: ("predictions", ("value", "numerical_error", "scale"), ("theory",)),
}


def write_measurements(
    path: str | os.PathLike[str],
    measurements: Measurement | Iterable[Measurement],
    *,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write measurements to a JSON file, in one step.

    Parameters
    ----------
    path : path-like
        The file; one that is there is replaced.
    measurements : Measurement or iterable of Measurements
        What was measured.
    about : mapping, optional
        What else a reader should know: plain JSON types.

    Examples
    --------
    >>> import tempfile
    >>> m = Measurement(quantity=Quantity(name="x"), value=0.1, stderr=0.01, n_effective=9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_measurements(folder + "/m.json", m)
    ...     [again] = read_measurements(folder + "/m.json")
    >>> again.value == m.value
    array([ True])
    """
    replace_file(path, as_json(measurements, Measurement, about=about).encode(errors=_ODD))


def write_predictions(
    path: str | os.PathLike[str],
    predictions: Prediction | Iterable[Prediction],
    *,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write predictions to a JSON file, in one step.

    Parameters
    ----------
    path : path-like
        The file; one that is there is replaced.
    predictions : Prediction or iterable of Predictions
        What was predicted.
    about : mapping, optional
        What else a reader should know: plain JSON types.
    """
    replace_file(path, as_json(predictions, Prediction, about=about).encode(errors=_ODD))


def read_measurements(path: str | os.PathLike[str]) -> tuple[Measurement, ...]:
    """Read measurements from a JSON file.

    Parameters
    ----------
    path : path-like
        A file of :func:`write_measurements`.

    Returns
    -------
    tuple of Measurement
    """
    return _read(path, Measurement)


def read_predictions(path: str | os.PathLike[str]) -> tuple[Prediction, ...]:
    """Read predictions from a JSON file.

    Parameters
    ----------
    path : path-like
        A file of :func:`write_predictions`.

    Returns
    -------
    tuple of Prediction
    """
    return _read(path, Prediction)


def read_matrix(path: str | os.PathLike[str], key: str | None = None) -> FloatArray:
    """Read a matrix or a vector of real numbers from a file.

    Parameters
    ----------
    path : path-like
        ``.npy``, ``.npz``, ``.mat`` (up to version 7), ``.zarr``, ``.csv`` or ``.txt``.
    key : str, optional
        Which array of a file that holds several; not needed where there is one.

    Returns
    -------
    ndarray of float64
        Of one or two axes.

    Raises
    ------
    RecordError
        If there is no such file or array, or it is damaged, foreign or of another kind.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(folder + "/both.npz", H=np.eye(2), C=2.0 * np.eye(2))
    ...     read_matrix(folder + "/both.npz", "C")
    array([[2., 0.],
           [0., 2.]])
    """
    place = Path(os.fspath(path))
    found = arrays_in(place, key)
    if found.dtype.kind not in "biuf" or found.ndim not in {1, 2} or found.size == 0:
        msg = (
            f"{str(place)!r} must hold a matrix or a vector of real numbers, got {found.dtype} of "
            f"shape {found.shape}; save it again as one"
        )
        raise RecordError(msg)
    return np.array(found, dtype=np.float64)


def as_json(
    nouns: Measurement | Prediction | Iterable[Measurement] | Iterable[Prediction],
    kind: type[Measurement] | type[Prediction],
    *,
    about: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of a file of measurements or predictions.

    Parameters
    ----------
    nouns : Measurement, Prediction or iterable of them
        What to write.
    kind : type
        ``Measurement`` or ``Prediction``.
    about : mapping, optional
        What else a reader should know: plain JSON types.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If there is nothing to write, or something else among it.
    """
    plural, arrays, words = _FIELDS[kind]
    items: Any = (nouns,) if isinstance(nouns, kind) else nouns
    rows = []
    for item in items:
        if not isinstance(item, kind):
            msg = f"`{plural}` must be {kind.__name__}s, got {type(item).__name__}"
            raise InputError(msg)
        quantity = item.quantity
        row: dict[str, Any] = {
            "name": quantity.name,
            "unit": quantity.unit,
            "labels": list(quantity.labels),
        }
        for name in arrays:
            value = getattr(item, name)
            row[name] = None if value is None else value.tolist()
        rows.append(row | {name: getattr(item, name) for name in words})
    if not rows:
        msg = f"`{plural}` is empty; there is nothing to write"
        raise InputError(msg)
    content: dict[str, Any] = {"schema": {"name": f"fracsde {plural}", "version": _VERSION}}
    content |= {"about": dict(about or {}), plural: rows}
    try:
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        msg = f"`about` must reduce to plain JSON types: {error}"
        raise InputError(msg) from error


def _read(path: str | os.PathLike[str], kind: type[_Noun]) -> tuple[_Noun, ...]:
    plural, arrays, words = _FIELDS[kind]
    place = Path(os.fspath(path))
    content = _json(place, plural)
    schema = content.get("schema")
    name = schema.get("name") if isinstance(schema, dict) else None
    if name != f"fracsde {plural}":
        held = f"says {name!r}" if name else "does not say what it holds"
        msg = f"{str(place)!r} {held}, and a file of {plural} is needed; see write_{plural}"
        raise RecordError(msg)
    assert isinstance(schema, dict)
    if schema.get("version") != _VERSION:
        msg = (
            f"{str(place)!r} has version {schema.get('version')!r} of its schema, and this program "
            f"reads version {_VERSION}; write it again, or install the fracsde that wrote it"
        )
        raise RecordError(msg)
    rows = content.get(plural)
    if not isinstance(rows, list) or not rows:
        msg = f"{str(place)!r} is damaged: `{plural}` must be a list that is not empty"
        raise RecordError(msg)
    return tuple(_noun(place, k, row, kind, arrays, words) for k, row in enumerate(rows))


def _json(place: Path, plural: str) -> dict[str, Any]:
    try:
        if place.exists() and not (place.is_file() or place.is_dir()):
            msg = f"{str(place)!r} is a pipe or a device; name a file of {plural}"
            raise RecordError(msg)
        size = place.stat().st_size
        if size > _LARGEST:
            msg = f"{str(place)!r} has {size} bytes, more than any file of {plural}"
            raise RecordError(msg)
        content = json.loads(place.read_bytes(), parse_constant=_no_constant)
    except OSError as error:
        msg = f"cannot read {str(place)!r}: {error.strerror or error}; name a file of {plural}"
        raise RecordError(msg) from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError too
        if isinstance(error, RecordError):
            raise
        msg = (
            f"{str(place)!r} is no file of {plural}: {error or 'too deeply nested'}; it is "
            "truncated or foreign, write it again"
        )
        raise RecordError(msg) from error
    if not isinstance(content, dict):
        msg = f"{str(place)!r} is no file of {plural}: it holds a {type(content).__name__}"
        raise RecordError(msg)
    return content


def _no_constant(word: str) -> float:
    msg = f"it holds {word}, and every number must be finite"
    raise ValueError(msg)


def _noun(
    place: Path,
    k: int,
    row: Any,
    kind: type[_Noun],
    arrays: tuple[str, ...],
    words: tuple[str, ...],
) -> _Noun:
    fields = {"name", "unit", "labels", *arrays, *words}
    if not isinstance(row, dict) or set(row) != fields:
        odd = "is no object"
        if isinstance(row, dict):
            lacking, strange = sorted(fields - set(row)), sorted(set(row) - fields)
            odd = "; ".join(
                f"{what} {', '.join(map(repr, those))}"
                for what, those in (("lacks", lacking), ("has the unknown", strange))
                if those
            )
        msg = f"{str(place)!r} is damaged: entry {k} {odd}"
        raise RecordError(msg)
    texts = [row["name"], row["unit"], *(row[name] for name in words)]
    labels = row["labels"]
    sound = all(isinstance(text, str) for text in texts) and isinstance(labels, list)
    if not sound or not all(isinstance(label, str) for label in labels):
        msg = f"{str(place)!r} is damaged: names, units and labels of entry {k} must be words"
        raise RecordError(msg)
    values = {name: row[name] for name in arrays if row[name] is not None or name != "scale"}
    try:
        quantity = Quantity(name=row["name"], unit=row["unit"], labels=labels)
        found: _Noun = kind(quantity=quantity, **values, **{name: row[name] for name in words})
    except InputError as error:
        msg = f"{str(place)!r}: entry {k}, {row['name']!r}: {error}"
        raise RecordError(msg) from error
    return found
