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
what they were before.  Attributes that a model keeps outside its buffers are beyond reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fracsde.errors import InputError, ShapeError
from fracsde.recording.torch._passes import (
    Pass,
    State,
    digest,
    run_pass,
    tensors_in,
    untouched,
    watching,
)
from fracsde.recording.torch.settings import drawing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Examination", "Finding", "examine"]

_RANDOM = (
    torch.nn.modules.dropout._DropoutNd,
    torch.nn.RReLU,
    torch.nn.FractionalMaxPool2d,
    torch.nn.FractionalMaxPool3d,
)
_MOST_EXAMPLES = 64  # tried one by one
_ACCESSES = 8  # examples of a loader's data that are fetched twice


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that theory does not expect.

    Parameters
    ----------
    name : str
        Which: ``"random module"``, ``"coupled batch"``, ``"sum reduction"`` and so on.
    found : str
        What was found, and where.
    remedy : str
        What to do.
    """

    name: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What :func:`examine` found.

    Parameters
    ----------
    findings : tuple of Finding
        Empty where nothing stands against a theory of the run.
    skipped : tuple of str
        What could not be tried, and why.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found and everything was tried."""
        return not self.findings and not self.skipped

    def __str__(self) -> str:
        lines = [f"- {finding}" for finding in self.findings]
        lines += [f"- not tried: {reason}" for reason in self.skipped]
        return "\n".join(lines) if lines else "nothing stands against a theory of this run"


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
        A batch as the training loop sees it, two examples at least, one per row; several tensors
        become several arguments.
    targets : torch.Tensor
        Its targets, one per row.
    loader : torch.utils.data.DataLoader, optional
        Its data are fetched twice to find augmentation, and its way of drawing is looked at.

    Returns
    -------
    Examination

    Raises
    ------
    InputError
        If there are fewer than two examples, or arguments do not fit one another.

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
    batch = _batch(model, inputs, targets)
    skipped: list[str] = []
    with untouched(model) as state:
        first = run_pass(model, loss_function, batch, targets)
        findings = _no_number(first) or _not_finite(model, first)
        if findings:
            return Examination(findings=findings)
        random, findings = _randomness(model, loss_function, batch, targets, first, state)
        findings += _coupling(model, batch, random, state, skipped)
        state.restore()
        findings += _reduction(loss_function, first, targets, skipped)
        findings += _unused(model, first) + _half(model)
        if loader is not None:
            findings += _drawing(loader) + _augmentation(loader, skipped)
    return Examination(findings=findings, skipped=tuple(skipped))


def _batch(model: Any, inputs: Any, targets: Any) -> tuple[Any, ...]:
    if not isinstance(model, torch.nn.Module):
        msg = f"`model` must be a torch.nn.Module, got {type(model).__name__}"
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
    return batch


def _no_number(first: Pass) -> tuple[Finding, ...]:
    if isinstance(first.loss, torch.Tensor) and first.loss.numel() == 1:
        return ()
    found = f"the loss has shape {tuple(getattr(first.loss, 'shape', ()))} and is not one number"
    remedy = "average it over the batch: reduction='mean' for the losses of torch"
    return (Finding(name="loss per example", found=found, remedy=remedy),)


def _not_finite(model: Any, first: Pass) -> tuple[Finding, ...]:
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    bad = [
        name
        for name, gradient in zip(names, first.gradients, strict=True)
        if gradient is not None and not all(map(_finite, tensors_in(gradient)))
    ]
    if _finite(first.loss) and not bad:
        return ()
    found = f"the loss of this batch is {float(first.loss):g}"
    if bad:
        found += f", and the gradient of {_listed(bad)} holds NaN or infinity"
    remedy = "look for logarithms of zero, overflow in half precision, and NaN in the data"
    return (Finding(name="not finite", found=found, remedy=remedy),)


def _randomness(
    model: Any,
    loss_function: Callable[[Any, Any], Any],
    batch: tuple[Any, ...],
    targets: Any,
    first: Pass,
    state: State,
) -> tuple[set[str], tuple[Finding, ...]]:
    second = run_pass(model, loss_function, batch, targets)
    stateful = set(state.changed(model)) - set(_batch_norms(model))
    state.restore()
    again = run_pass(model, loss_function, batch, targets)
    state.restore()
    sources = {
        place
        for place, calls in first.calls.items()
        for one, two in zip(calls, second.calls.get(place, ()), strict=False)
        if one[0] == two[0] and one[1] != two[1]
    }
    sources = {s for s in sources if not any(_inside(other, s) for other in sources)}
    random = (sources - stateful) | {
        place
        for place, module in model.named_modules()
        if isinstance(module, _RANDOM) and module.training and getattr(module, "p", 1.0) > 0
    }
    findings = []
    if random:
        findings.append(
            Finding(
                name="random module",
                found=f"{_modules(model, random)} gives another result in each pass",
                remedy="train with model.eval(), which still has gradients, or take it out",
            )
        )
    if stateful:
        findings.append(
            Finding(
                name="hidden state",
                found=f"{_modules(model, stateful)} changes its buffers in each pass",
                remedy="train with model.eval(), or take it out: the state is part of no theory",
            )
        )
    results = [digest((run.loss, run.gradients)) for run in (first, second, again)]
    if not random and not stateful and results[0] != results[1]:
        findings.append(
            Finding(
                name="random loss",
                found="the same batch gives another loss or gradient in a second pass, though "
                "every module gives the same",
                remedy="let the loss function draw no random numbers and keep no state",
            )
        )
    if results[0] != results[2]:
        findings.append(
            Finding(
                name="not repeatable",
                found="the same batch gives another loss or gradient even with the same random "
                "numbers",
                remedy="call torch.use_deterministic_algorithms(True), and look for state that is "
                "kept outside buffers",
            )
        )
    return random, tuple(findings)


def _coupling(
    model: Any, batch: tuple[Any, ...], random: set[str], state: State, skipped: list[str]
) -> tuple[Finding, ...]:
    half = len(batch[0]) // 2
    runs: list[dict[str, list[tuple[Any, Any]]]] = [{}, {}]
    sources = {place for place in _batch_norms(model) if place not in random}
    try:
        for calls, part in zip(runs, (batch, tuple(x[:half] for x in batch)), strict=True):
            state.restore()
            with torch.no_grad(), watching(model, _copies, calls):
                model(*part)
    except (RuntimeError, ValueError, TypeError) as error:
        skipped.append(f"half of the batch by itself: {error}")
    else:
        sources |= {
            place
            for place, calls in runs[0].items()
            if not any(place == other or _inside(other, place) for other in random)
            for whole, part in zip(calls, runs[1].get(place, ()), strict=False)
            if _agree(whole[0], part[0], half) is True and _agree(whole[1], part[1], half) is False
        }
    sources = {s for s in sources if not any(_inside(other, s) for other in sources)}
    if not sources:
        return ()
    found = f"what {_modules(model, sources)} gives for one example depends on the others"
    remedy = (
        "train with model.eval(), so that stored statistics are used, or use a normalisation of "
        "single examples (LayerNorm, GroupNorm)"
    )
    return (Finding(name="coupled batch", found=found, remedy=remedy),)


def _reduction(
    loss_function: Callable[[Any, Any], Any], first: Pass, targets: Any, skipped: list[str]
) -> tuple[Finding, ...]:
    outputs = first.outputs
    if not isinstance(outputs, torch.Tensor) or not outputs.ndim or len(outputs) != len(targets):
        skipped.append("one-example losses: the model's output is no tensor with a row per example")
        return ()
    x, y = outputs.detach()[:_MOST_EXAMPLES], targets[:_MOST_EXAMPLES]
    try:
        with torch.no_grad():
            whole = float(loss_function(x, y))
            singles = [float(loss_function(x[i : i + 1], y[i : i + 1])) for i in range(len(x))]
            twice = float(loss_function(torch.cat([x, x]), torch.cat([y, y])))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        skipped.append(f"one-example losses: {error}")
        return ()
    total = sum(singles)
    precision = torch.finfo(x.dtype).eps if x.is_floating_point() else 1e-7
    width = precision**0.5 * (sum(map(abs, singles)) / len(x) + abs(whole))
    if abs(whole - total / len(x)) <= width:
        return ()
    if abs(whole - total) <= width * len(x) or abs(twice - 2.0 * whole) <= width:
        found = f"the loss of {len(x)} examples is the sum of their losses, not the mean"
        remedy = (
            "use reduction='mean', or divide the loss by the batch size: as it is, the learning "
            f"rate is {len(x)} times what theory is told, and changes with the batch"
        )
        return (Finding(name="sum reduction", found=found, remedy=remedy),)
    if abs(twice - whole) <= width:
        found = "the loss is an average in which examples do not count alike"
        remedy = "average plainly: no class weights, ignore_index or masks that vary with the batch"
        return (Finding(name="weighted mean", found=found, remedy=remedy),)
    found = "the loss of a batch is neither the mean nor the sum of the losses of its examples"
    remedy = "theory needs a loss of single examples: contrastive and ranking losses have none"
    return (Finding(name="coupled loss", found=found, remedy=remedy),)


def _unused(model: Any, first: Pass) -> tuple[Finding, ...]:
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    unused = [n for n, gradient in zip(names, first.gradients, strict=True) if gradient is None]
    if not unused:
        return ()
    found = f"the loss does not depend on {_listed(unused)}"
    remedy = "freeze it with requires_grad_(False), so that it is no coordinate of the run"
    return (Finding(name="unused parameter", found=found, remedy=remedy),)


def _half(model: Any) -> tuple[Finding, ...]:
    short = [
        f"{name} ({str(p.dtype).removeprefix('torch.')})"
        for name, p in model.named_parameters()
        if p.requires_grad and torch.finfo(p.dtype).bits < 32
    ]
    if not short:
        return ()
    found = f"{_listed(short)}: steps below the rounding of the weights are lost"
    remedy = "keep weights in float32 and compute under torch.autocast"
    return (Finding(name="half precision", found=found, remedy=remedy),)


def _drawing(loader: Any) -> tuple[Finding, ...]:
    drawn, findings = drawing_of(loader), []
    if drawn["sampling"] == "unknown":
        findings.append(
            Finding(
                name="sampling",
                found=f"batches are drawn by {drawn['sampler']}, which no theory here describes",
                remedy="draw with RandomSampler(data, replacement=True), or shuffle",
            )
        )
    size, batch = drawn.get("dataset_size"), drawn.get("batch_size")
    if size and batch and size % batch and not drawn.get("drop_last", True):
        findings.append(
            Finding(
                name="uneven batches",
                found=f"the last batch of an epoch has {size % batch} examples, the others {batch}",
                remedy="pass drop_last=True to the loader",
            )
        )
    return tuple(findings)


def _augmentation(loader: Any, skipped: list[str]) -> tuple[Finding, ...]:
    data, collate = loader.dataset, loader.collate_fn
    if isinstance(data, torch.utils.data.IterableDataset):
        skipped.append("augmentation: the data are a stream, which gives an example once")
        return ()
    chosen = range(0, len(data), max(1, len(data) // _ACCESSES))
    alone = loader.batch_size is None and loader.batch_sampler is None
    try:
        changed = [
            i
            for i in chosen
            if len({digest(collate(data[i] if alone else [data[i]])) for _ in range(2)}) > 1
        ]
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        skipped.append(f"augmentation: {error}")
        return ()
    if not changed:
        return ()
    found = f"example {changed[0]} of the data is another one at each access"
    remedy = "take random transforms out of the data set, or apply them once and store the result"
    return (Finding(name="augmentation", found=found, remedy=remedy),)


def _batch_norms(model: Any) -> list[str]:
    return [
        place
        for place, module in model.named_modules()
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
        and (module.training or module.running_mean is None)
    ]


def _copies(value: Any) -> list[Any]:
    return [tensor.detach().clone() for tensor in tensors_in(value)]


def _agree(whole: list[Any], part: list[Any], half: int) -> bool | None:
    """Say whether rows of a whole batch are those of its first half; None where rows are unknown.

    Returns
    -------
    bool or None
    """
    if not whole or [x.shape[1:] for x in whole] != [x.shape[1:] for x in part]:
        return None
    for x, y in zip(whole, part, strict=True):
        if not x.ndim or len(y) != half or len(x) < half:
            return None
        if not x.is_floating_point():
            if not torch.equal(x[:half], y):
                return False
            continue
        width = torch.finfo(x.dtype).eps ** 0.5 * float(x.abs().max()) if x.numel() else 0.0
        if not float((x[:half] - y).abs().max() if y.numel() else 0.0) <= width:
            return False
    return True


def _finite(tensor: Any) -> bool:
    return bool(torch.isfinite(tensor if tensor.layout == torch.strided else tensor.values()).all())


def _inside(place: str, outer: str) -> bool:
    return place != outer and (outer == "" or place.startswith(f"{outer}."))


def _modules(model: Any, places: Iterable[str]) -> str:
    known = dict(model.named_modules())
    names = [f"{place or 'the model'!r} ({type(known[place]).__name__})" for place in known]
    return _listed([name for name, place in zip(names, known, strict=True) if place in places])


def _listed(names: list[str]) -> str:
    if len(names) <= 4:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3} more"
