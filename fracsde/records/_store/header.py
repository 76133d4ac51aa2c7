"""What a run says of itself, ``run.json``, and the other small JSON files of its folder.

Written once, by a link that only one process can make; every field is checked when it is read,
since a folder may come from anywhere.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fracsde.errors import RecordError
from fracsde.records._store.layout import Layout, Stream
from fracsde.records._store.places import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FORMAT", "VERSION", "Header", "plain", "read_header", "read_json", "to_json"]

FORMAT, VERSION = "fracsde run", 1
KINDS = ("full", "projection", "coordinates")
STRUCTURES = ("dense", "disjoint")
CLOCKS = ("step", "time")
_LONGEST_JSON = 16 * 2**20
_LONGEST_INTEGER = 4096
_FILE = re.compile(r"observation-[0-9a-f]{16}\.npy")


@dataclass(frozen=True, kw_only=True)
class Header:
    """The part of a run that never changes.

    Parameters
    ----------
    parameters : int
        Number P of parameters of the model.
    kind, structure : str
        What of them is kept.
    file : str
        Name of the file of directions or indices, empty where everything is kept.
    made_by : mapping
        How the observation was made.
    streams : tuple of Stream
        The first is ``"weights"``.
    clock : {"step", "time"}
        Whether times are the steps or the stream ``"time"``.

    Raises
    ------
    RecordError
        If fields do not fit one another.
    """

    parameters: int
    kind: str
    structure: str = "dense"
    file: str = ""
    made_by: Mapping[str, Any] = field(default_factory=dict)
    streams: tuple[Stream, ...]
    clock: str = "step"

    def __post_init__(self) -> None:
        _integer("parameters", self.parameters)
        _one_of("observation kind", self.kind, KINDS)
        _one_of("observation structure", self.structure, STRUCTURES)
        _one_of("clock", self.clock, CLOCKS)
        if not isinstance(self.made_by, dict):
            msg = "`made_by` of the observation must be a mapping"
            raise RecordError(msg)
        if (self.kind == "full") != (self.file == "") or (
            self.file and not _FILE.fullmatch(self.file)
        ):
            msg = f"an observation of kind {self.kind!r} cannot have the file {self.file!r}"
            raise RecordError(msg)
        self.layout()
        width = self.streams[0].width
        if self.streams[0].name != "weights" or width > self.parameters:
            msg = (
                f"the first stream must be 'weights', of at most {self.parameters} numbers; got "
                f"{self.streams[0].name!r} of {width}"
            )
            raise RecordError(msg)
        if self.kind == "full" and width != self.parameters:
            msg = f"all {self.parameters} parameters are kept, yet 'weights' has width {width}"
            raise RecordError(msg)
        names = [stream.name for stream in self.streams]
        if self.clock == "time" and "time" not in names:
            msg = "the clock is the stream 'time', which the run does not have"
            raise RecordError(msg)

    def layout(self) -> Layout:
        """Return where the streams lie in a row.

        Returns
        -------
        Layout
        """
        return Layout(self.streams)

    def to_dict(self) -> dict[str, Any]:
        """Return the header as plain JSON types.

        Returns
        -------
        dict
        """
        return {
            "format": FORMAT,
            "version": VERSION,
            "parameters": self.parameters,
            "observation": {
                "kind": self.kind,
                "structure": self.structure,
                "file": self.file,
                "made_by": dict(self.made_by),
            },
            "streams": [
                {
                    "name": stream.name,
                    "width": stream.width,
                    "dtype": stream.dtype,
                    "unit": stream.unit,
                    "labels": list(stream.labels),
                }
                for stream in self.streams
            ],
            "clock": self.clock,
        }


def read_header(path: Path) -> Header:
    """Read ``run.json``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Header

    Raises
    ------
    RecordError
        If it is not the header of a run, or one of another version.
    """
    found = read_json(path)
    if found.get("format") != FORMAT:
        msg = f"{path} is not the header of a run of fracsde: it lacks the format {FORMAT!r}"
        raise RecordError(msg)
    version = found.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        remedy = "install a newer fracsde" if newer else "record the run again"
        msg = f"{path} has version {version!r}, this fracsde reads version {VERSION}; {remedy}"
        raise RecordError(msg)
    try:
        observation = found["observation"]
        streams = tuple(_stream(entry) for entry in found["streams"])
        return Header(
            parameters=found["parameters"],
            kind=observation["kind"],
            structure=observation["structure"],
            file=observation["file"],
            made_by=observation["made_by"],
            streams=streams,
            clock=found["clock"],
        )
    except RecordError as error:
        msg = f"{path} is damaged: {error}"
        raise RecordError(msg) from error
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"{path} is damaged: {error} is missing or of the wrong kind; copy the run again"
        raise RecordError(msg) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a small JSON file that holds one mapping.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict

    Raises
    ------
    RecordError
        If it is missing, too long, nested too deep, or no JSON.
    """
    size = size_of(path)
    if size > _LONGEST_JSON:
        msg = f"{path} has {size} bytes, a header at most {_LONGEST_JSON}: it is no header of a run"
        raise RecordError(msg)
    try:
        found = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        msg = f"cannot read {str(path)!r}: {error.strerror or error}; check its permissions"
        raise RecordError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is damaged or no file of a run: {error}; copy the run again"
        raise RecordError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} is damaged: it holds {type(found).__name__} where a mapping belongs"
        raise RecordError(msg)
    return found


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a JSON file: sorted, readable, plain ASCII.

    Returns
    -------
    bytes

    Raises
    ------
    RecordError
        If it would be too long to be read.
    """
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()
    if len(text) > _LONGEST_JSON:
        msg = f"{len(text)} bytes of metadata are more than {_LONGEST_JSON}; use `attach` for data"
        raise RecordError(msg)
    return text + b"\n"


def plain(name: str, value: Any, *, depth: int = 0) -> Any:
    """Return a value as plain JSON types.

    Parameters
    ----------
    name : str
        Where it stands, for the message.
    value : object
        Mappings with text as keys, sequences, arrays, text, finite numbers, truth values, None.
    depth : int
        How deep it is nested.

    Returns
    -------
    object

    Raises
    ------
    RecordError
        If it is anything else; names the place.
    """
    if depth > 50:
        msg = f"metadata {name!r} is nested deeper than 50 levels; use `attach` for data"
        raise RecordError(msg)
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, np.integer)):
        if int(value).bit_length() > _LONGEST_INTEGER:
            msg = f"metadata {name!r} is an integer of {int(value).bit_length()} bits; use text"
            raise RecordError(msg)
        return int(value)
    if isinstance(value, (np.bool_, np.ndarray)):
        return plain(name, value.tolist(), depth=depth)
    if isinstance(value, (float, np.floating)):
        if not math.isfinite(value):
            msg = f"metadata {name!r} is {float(value)}, which JSON does not know; use None or text"
            raise RecordError(msg)
        return float(value)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                msg = f"metadata {name!r} has the key {key!r}; keys must be text"
                raise RecordError(msg)
        return {k: plain(f"{name}.{k}", v, depth=depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(f"{name}[{i}]", v, depth=depth + 1) for i, v in enumerate(value)]
    msg = (
        f"metadata {name!r} is of type {type(value).__name__}; metadata are text, finite numbers, "
        "truth values, None, and lists and mappings of these"
    )
    raise RecordError(msg)


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON"
    raise ValueError(msg)


def _stream(entry: Any) -> Stream:
    labels = entry["labels"]
    if not isinstance(labels, list):
        msg = "`labels` of a stream must be a list"
        raise RecordError(msg)
    return Stream(entry["name"], entry["width"], entry["dtype"], entry["unit"], tuple(labels))


def _integer(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**53:
        msg = f"`{name}` must be an integer of at least 1, got {value!r:.80}"
        raise RecordError(msg)


def _one_of(name: str, value: Any, options: tuple[str, ...]) -> None:
    if value not in options:
        msg = f"the {name} must be one of {options}, got {value!r:.80}"
        raise RecordError(msg)
