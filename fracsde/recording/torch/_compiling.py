"""A recorder inside ``torch.compile``: the compiler steps around it.

What a compiler traces it replaces, and a recorder reads memory by addresses.  Where an optimiser's
step is compiled its hooks are traced too; they ask :func:`compiling`, which a trace takes for true,
or, where they are called between its parts, :func:`watched`, and go by :func:`apart`, which no
trace enters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["apart", "compiling", "watched"]


def _nobody() -> None:
    """Return what :func:`watched` does where nothing is compiled, for a torch that cannot say."""


compiling: Callable[[], bool] = torch.compiler.is_dynamo_compiling
# What would compile the next function that is called, else None.
watched: Callable[[], Any] = getattr(
    getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None),
    "get_eval_frame_callback",
    _nobody,
)


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function returns, which is called as if nothing were compiled.

    Returns
    -------
    object
    """
    return torch.compiler.disable(function)(*args)


# What ``torch.compiler.disable`` sets, which imports the compiler, a second's work.
apart._torchdynamo_disable = True  # type: ignore[attr-defined]
apart._torchdynamo_disable_msg = (  # type: ignore[attr-defined]
    "a recorder of fracsde reads the weights between the parts of a compiled step; compile the "
    "step without fullgraph=True, or compile the model alone"
)
