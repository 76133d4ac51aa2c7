"""Probes of a model: what it draws, what it couples, what it leaves without a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from fracsde.recording.torch._passes import Pass, State, digest, run_pass, tensors_in, watching
from fracsde.recording.torch.findings import Finding, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["coupling", "half", "no_number", "not_finite", "randomness", "unused"]

_RANDOM = (
    torch.nn.modules.dropout._DropoutNd,
    torch.nn.RReLU,
    torch.nn.FractionalMaxPool2d,
    torch.nn.FractionalMaxPool3d,
)


def no_number(first: Pass) -> tuple[Finding, ...]:
    if isinstance(first.loss, torch.Tensor) and first.loss.numel() == 1:
        return ()
    found = f"the loss has shape {tuple(getattr(first.loss, 'shape', ()))} and is not one number"
    remedy = "average it over the batch: reduction='mean' for the losses of torch"
    return (Finding(name="loss per example", found=found, remedy=remedy),)


def not_finite(model: Any, first: Pass) -> tuple[Finding, ...]:
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    bad = [
        name
        for name, gradient in zip(names, first.gradients, strict=True)
        if gradient is not None and not all(map(_finite, tensors_in(gradient)))
    ]
    if _finite(first.loss) and not bad:
        return ()
    found = f"the loss of this batch is {float(first.loss.detach()):g}"
    if bad:
        found += f", and the gradient of {listed(bad)} holds NaN or infinity"
    remedy = "look for logarithms of zero, overflow in half precision, and NaN in the data"
    return (Finding(name="not finite", found=found, remedy=remedy),)


def randomness(
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


def coupling(
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


def unused(model: Any, first: Pass) -> tuple[Finding, ...]:
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    unused = [n for n, gradient in zip(names, first.gradients, strict=True) if gradient is None]
    if not unused:
        return ()
    found = f"the loss does not depend on {listed(unused)}"
    remedy = "freeze it with requires_grad_(False), so that it is no coordinate of the run"
    return (Finding(name="unused parameter", found=found, remedy=remedy),)


def half(model: Any) -> tuple[Finding, ...]:
    short = [
        f"{name} ({str(p.dtype).removeprefix('torch.')})"
        for name, p in model.named_parameters()
        if p.requires_grad and torch.finfo(p.dtype).bits < 32
    ]
    if not short:
        return ()
    found = f"{listed(short)}: steps below the rounding of the weights are lost"
    remedy = "keep weights in float32 and compute under torch.autocast"
    return (Finding(name="half precision", found=found, remedy=remedy),)


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
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()  # it adds up before the optimiser does
    return bool(torch.isfinite(tensor if tensor.layout is torch.strided else tensor.values()).all())


def _inside(place: str, outer: str) -> bool:
    return place != outer and (outer == "" or place.startswith(f"{outer}."))


def _modules(model: Any, places: Iterable[str]) -> str:
    known = dict(model.named_modules())
    names = [f"{place or 'the model'!r} ({type(known[place]).__name__})" for place in known]
    return listed([name for name, place in zip(names, known, strict=True) if place in places])
