"""Messages of functions, put into the words of the command line.

A function names its arguments, ``learning_rate=5``; who typed a command wants its options,
``--learning-rate 5``.  Only options of the command that was typed are put in; other words stay.
"""

from __future__ import annotations

import re
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from fracsde.errors import FracsdeError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Speaking", "in_options"]

# Arguments of functions under other names than those of the options.
_OTHERWISE = (
    ("gradient_noise", "noise"),
    ("quantities", "quantity"),
    ("rivals", "rival"),
    ("law", "theory"),
    ("limit", "law"),
    ("limit", "theory"),
    ("window[0]", "start"),
    ("window[1]", "end"),
)
_VALUE = r"""\.\.\.|\[[^\]]*\]|\([^)]*\)|\{[^}]*\}|'[^']*'|"[^"]*"|[^\s,;:()`]*[^\s,;:()`.]"""
_NARROW = 80  # columns
_CALL = r"\b\w+\.\w+\([^()]*\)"  # code that is to be written, whose arguments stay
_SIDES = {"<": "below", ">": "above"}
_LAWS = ("map", "flow")  # methods of a problem that are laws of a command


class Speaking(TyperCommand):
    """A command that refuses in the words of its options."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Returns
        -------
        object

        Raises
        ------
        FracsdeError
            As the functions raise it, in other words.
        """
        try:
            return super().invoke(ctx)
        except FracsdeError as error:
            error.args = (in_options(str(error), self.params),)
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help: without panels where their columns would cut the names of options.

        Parameters
        ----------
        ctx : click.Context
            Of the command.
        formatter : click.HelpFormatter
            Lays text out.
        """
        if get_terminal_size().columns < _NARROW:
            self.rich_markup_mode = None
        super().format_help(ctx, formatter)


def in_options(message: str, parameters: Iterable[Any]) -> str:
    """Return a message in which arguments are named as the options of a command.

    Parameters
    ----------
    message : str
        As a function said it.
    parameters : iterable of click.Parameter
        Of the command.

    Returns
    -------
    str
    """
    known = {p.name: p for p in parameters if p.param_type_name == "option"}
    known |= {
        other: known[name] for other, name in _OTHERWISE if name in known and other not in known
    }
    message = re.sub(r", got None\b", "", message)
    message = re.sub(r",? or (?:pass |take )?throw=False\b[^.;]*", "", message)
    message = re.sub(
        r"\b(shape|got) \(([\d, ]*|\d+, any)\)",
        lambda found: f"{found[1]} {_lengths(found[2])}",
        message,
    )
    if not known:
        return message
    names = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))

    def either(found: re.Match[str]) -> str:
        return (
            found[0]
            if found[1] in known and found[2] in known
            else (f"`{found[1] if found[1] in known else found[2]}`")
        )

    message = re.sub(r"`(\w+)`, or `(\w+)` of a comparison", either, message)
    message = re.sub(
        rf"{_CALL}|(?<![\w.-])({names})=({_VALUE})",
        lambda found: _with_value(known[found[1]], found[2]) if found[1] else found[0],
        message,
    )
    message = re.sub(
        rf"(?<![\w.-])({names}) ([<>]) (?=\d)",
        lambda found: f"{_option(known[found[1]].opts)} {_SIDES[found[2]]} ",
        message,
    )
    message = re.sub(rf"`({names})` = (?=[\d\"'])", r"`\1` ", message)
    message = re.sub(rf"`({names})`", lambda found: _option(known[found[1]].opts), message)
    if "limit" in known:
        law = _option(known["limit"].opts)
        message = re.sub(rf"(?<![\w.])({'|'.join(_LAWS)})\(\)", rf"{law} \1", message)
    return message


def _with_value(option: Any, text: str) -> str:
    if option.is_flag and text in {"True", "False"}:
        forms = option.opts if text == "True" else option.secondary_opts
        return _option(forms) if forms else f"no {_option(option.opts)}"
    if text[0] in "[(":
        text = ",".join(part.strip() for part in text[1:-1].split(",") if part.strip())
    shown = "FILE" if text[0] == "{" else text.strip("\"'")
    return f"{_option(option.opts)} {shown}"


def _lengths(text: str) -> str:
    return " x ".join(part for part in text.replace(" ", "").split(",") if part) or "of one number"


def _option(forms: list[str]) -> str:
    return max(forms, key=len)
