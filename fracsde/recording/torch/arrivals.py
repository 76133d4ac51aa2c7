"""What became of a gradient that arrived: a step was made of it, or not.

A hook of one parameter sees each gradient arrive.  The first after a step it only counts, since
each attribute of a tensor takes a microsecond there; what follows no step is looked at.  Two things
are told by it:

* A batch whose gradient was dropped has no part in the next step.  A gradient scaler leaves steps
  out, and tells the optimiser nothing; but the gradient is gone before the next batch, or zero, or
  it is replaced between the next batch's forward pass and its backward pass.  Where batches are
  accumulated, each adds to it once.
* Where weights change while gradient after gradient arrives and the optimiser makes no step,
  something else moves them.

Changes are seen by torch's count of them, ``Tensor._version``.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde.recording.torch.parameters import TrainedParameters

__all__ = ["ARRIVED", "EXAMPLES", "PASSES", "UNTRAINED", "Arrivals", "tally"]

# Places of a tally, a list of whole numbers since the last step.
EXAMPLES = 0  # that went through the model in training mode
UNTRAINED = 1  # through the model in evaluation mode
ARRIVED = 2  # version of the gradient when it last arrived, counted from 1; 0 once looked at
PASSES = 3  # gradients that arrived
_VERSION = 4  # of the weights when the second of them did
_SEEN = 5  # version of the gradient when it was looked at, counted from 1; 0 once another arrived
_BEFORE = 6, 7  # examples of both kinds when a gradient last arrived
_UNKNOWN = -1  # version
_SUSPICIOUS = 8  # gradients without a step
_UNSEEN = 16, 32  # and where the version does not tell, as that of fused optimisers


def tally() -> list[int]:
    """Return a tally of nothing."""
    return [0] * 8


class Arrivals:
    """Watches the gradients of one parameter, the last of the model that is trained.

    It holds neither tensors nor recorder, and the tensor holds it: it outlives a recorder that is
    dropped with its optimiser, to tell that training goes on.

    Parameters
    ----------
    parameters : TrainedParameters
        Those that are recorded.
    count : list of int
        A tally, which whoever sees a step sets to zero.
    tell : callable
        Called with the number of gradients, once, where the weights are moved by something else.
    """

    __slots__ = ("_count", "_handle", "_host", "_kept", "_tell", "_tensors", "_watched")

    def __init__(
        self, parameters: TrainedParameters, count: list[int], tell: Callable[[int], None]
    ) -> None:
        self._tensors = tuple(weakref.ref(tensor) for tensor in parameters.tensors)
        watched = parameters.tensors[parameters.own - 1]
        self._watched, self._count = weakref.ref(watched), count
        self._tell: Callable[[int], None] | None = tell
        self._kept: Any = None
        self._host = watched.is_cpu  # elsewhere numbers would be waited for
        self._handle = watched.register_post_accumulate_grad_hook(self._arrived)

    def remove(self) -> None:
        """Watch no more."""
        self._handle.remove()

    def look(self) -> None:
        """Forget the batches whose gradient was dropped; asked before a batch is counted."""
        count = self._count
        arrived, count[ARRIVED] = count[ARRIVED], 0
        gradient = getattr(self._watched(), "grad", None)
        version = _UNKNOWN if gradient is None else gradient._version + 1
        if gradient is None or (arrived != version and self._zero(gradient)):
            count[EXAMPLES] = count[UNTRAINED] = 0
        else:
            count[_SEEN] = version
            count[_BEFORE[0]], count[_BEFORE[1]] = count[EXAMPLES], count[UNTRAINED]

    def end(self) -> None:
        """Tell at the end of a recording what few gradients did not show."""
        count, watched = self._count, self._watched()
        passes = count[PASSES]
        if passes > 2 and watched is not None and watched._version - count[_VERSION] >= passes - 1:
            self._told(passes)

    def _arrived(self, parameter: Any) -> None:
        count = self._count
        passes = count[PASSES] = count[PASSES] + 1
        if passes == 1 and self._host:
            count[ARRIVED] = _UNKNOWN
            return
        gradient = parameter.grad
        version = count[ARRIVED] = gradient._version + 1
        if passes == 2:
            count[_VERSION] = parameter._version
        self._follow(gradient, version)
        if passes >= _SUSPICIOUS:
            self._suspect(parameter, passes)

    def _follow(self, gradient: Any, version: int) -> None:
        # One that was added to was changed once since; but those with graphs are made anew.
        count = self._count
        seen, count[_SEEN] = count[_SEEN], 0
        if seen and version != seen + 1 and not gradient.requires_grad:
            count[EXAMPLES] -= count[_BEFORE[0]]
            count[UNTRAINED] -= count[_BEFORE[1]]

    def _suspect(self, parameter: Any, passes: int) -> None:
        if passes == _UNSEEN[0]:
            self._kept = parameter.detach().clone()
        moved = passes == _UNSEEN[1] and not torch.equal(self._kept, parameter)
        # What the last of these gradients will do to the weights is yet to come.
        if moved or parameter._version - self._count[_VERSION] >= passes - 2:
            self._told(passes)

    def _told(self, passes: int) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(passes)

    def _zero(self, watched: Any) -> bool:
        """Return whether the gradient as a whole is zero, that of what is watched first.

        Returns
        -------
        bool
        """
        if bool(_dense(watched).any()):
            return False
        tensors = [tensor() for tensor in self._tensors]
        found = [t.grad for t in tensors if t is not None and t.grad is not None]
        return not any(bool(_dense(gradient).any()) for gradient in found)


def _dense(gradient: Any) -> Any:
    return gradient if gradient.layout is torch.strided else gradient.to_dense()
