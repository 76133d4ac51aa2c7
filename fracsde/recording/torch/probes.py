r"""Is this training run the process that theory describes?  A few passes tell.

Theory takes the loss of a batch to be the mean of independent one-example losses,

.. math::
    L_B(w) = \frac1{|B|} \sum_{i \in B} \ell_i(w),

a function of the weights and of the examples drawn, and of nothing else.  :func:`examine`
evaluates model and loss a few times and names what breaks this: modules that draw random numbers
(dropout) or let the examples of a batch see one another (batch normalisation), by their class and
also by what they do, so that home-made ones are found; losses that sum, or average otherwise; data
that change from access to access; parameters without a gradient; numbers that are not finite; half
precision.

Nothing is changed: mode, buffers, gradients and the states of the random generators are afterwards
what they were before.  Attributes that a model keeps outside its buffers are beyond reach.  Of
home-made modules behind one that draws random numbers nothing can be said before that one is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from fracsde.errors import InputError, ShapeError
from fracsde.recording.torch._data_probes import augmentation, drawing, reduction
from fracsde.recording.torch._model_probes import (
    coupling,
    half,
    no_number,
    not_finite,
    randomness,
    unused,
)
from fracsde.recording.torch._passes import run_pass, untouched
from fracsde.recording.torch.devices import home_of
from fracsde.recording.torch.findings import Examination, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Examination", "Finding", "examine"]


def examine(
    model: Any,
    loss_function: Callable[[Any, Any], Any],
    inputs: Any,
    targets: Any,
    *,
    loader: Any = None,
) -> Examination:
    """Look for what makes a training run another process than theory describes.

    Parameters
    ----------
    model : torch.nn.Module
        In the mode in which it is trained.
    loss_function : callable
        Takes outputs and targets, returns the loss of the batch.
    inputs : torch.Tensor or tuple of torch.Tensor
        A batch as the training loop sees it, four examples at least, one per row; several tensors
        become several arguments.  It is moved to the device of the model, if that is on one.
    targets : torch.Tensor
        Its targets, one per row; moved too.
    loader : torch.utils.data.DataLoader, optional
        Its data are fetched twice to find augmentation, and its way of drawing is looked at.

    Returns
    -------
    Examination

    Raises
    ------
    InputError
        If there are fewer than four examples, or arguments do not fit one another.

    Examples
    --------
    >>> import torch
    >>> parts = torch.nn.Linear(3, 8), torch.nn.Dropout(), torch.nn.Linear(8, 2)
    >>> model = torch.nn.Sequential(*parts)
    >>> x, y = torch.randn(16, 3), torch.randint(0, 2, (16,))
    >>> found = examine(model, torch.nn.CrossEntropyLoss(reduction="sum"), x, y)
    >>> [finding.name for finding in found.findings]
    ['random module', 'sum reduction']
    >>> examine(model.eval(), torch.nn.CrossEntropyLoss(), x, y).ok
    True
    """
    moved = _batch(model, inputs, targets)
    batch, targets = moved[:-1], moved[-1]
    skipped: list[str] = []
    with untouched(model) as state:
        first = run_pass(model, loss_function, batch, targets)
        findings = no_number(first) or not_finite(model, first)
        if findings:
            return Examination(findings=findings)
        random, findings = randomness(model, loss_function, batch, targets, first, state)
        findings += coupling(model, batch, random, state, skipped)
        state.restore()
        findings += reduction(loss_function, first, targets, skipped)
        findings += unused(model, first) + half(model)
        if loader is not None:
            findings += drawing(loader) + augmentation(loader, skipped)
    return Examination(findings=findings, skipped=tuple(skipped))


def _batch(model: Any, inputs: Any, targets: Any) -> tuple[Any, ...]:
    if not isinstance(model, torch.nn.Module):
        msg = f"`model` must be a torch.nn.Module, got {type(model).__name__}"
        raise InputError(msg)
    lazy = torch.nn.parameter.is_lazy
    if any(lazy(part) for part in (*model.parameters(), *model.buffers())):
        msg = "`model` has parameters without a shape; run it once on a batch before it is examined"
        raise InputError(msg)
    batch = inputs if isinstance(inputs, tuple) else (inputs,)
    if not batch or not all(isinstance(x, torch.Tensor) and x.ndim for x in (*batch, targets)):
        msg = "`inputs` and `targets` must be tensors with one example per row"
        raise InputError(msg)
    rows = {len(x) for x in (*batch, targets)}
    if len(rows) != 1 or min(rows) < 4:
        msg = (
            f"`inputs` and `targets` must hold one example per row, four at least; got {rows} rows"
        )
        raise ShapeError(msg)
    home = home_of(model)
    try:
        return tuple(x if home is None else x.to(home) for x in (*batch, targets))
    except (RuntimeError, TypeError) as error:
        msg = f"the batch cannot be moved to {home}, where the model is: {error}"
        raise InputError(msg) from error
