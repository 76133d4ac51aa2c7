"""Trials of a torch model before it is believed: modes, reduction, coupling, route."""

from __future__ import annotations

from contextlib import suppress
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from fracsde.errors import InputError, UnsupportedError
from fracsde.recording.torch.devices import fetched
from fracsde.recording.torch.functional import ByAutograd, ByTransforms

if TYPE_CHECKING:
    from fracsde.recording.torch.functional import Examples, FlatModel, Route

__all__ = [
    "activations", "choose_route", "first_rows", "refuse_half", "refuse_model", "refuse_reduction",
]  # fmt: skip

_TRIED = 3  # examples of a trial
_AGREE = 0.03  # relative: products against differences of the gradient


def refuse_model(model: torch.nn.Module) -> None:
    """Refuse a model whose loss is no function of its weights, by the name of the module.

    Raises
    ------
    InputError
        If a module draws random numbers or uses the statistics of a batch, or nothing is trained.
    UnsupportedError
        If parameters are complex or not initialised.
    """
    for name, module in model.named_modules():
        trouble = _trouble(module)
        if trouble:
            where = f"{name!r} ({type(module).__name__})" if name else type(module).__name__
            msg = f"the module {where} {trouble}"
            raise InputError(msg)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trained:
        msg = "the model has no parameters that are trained; set requires_grad on those that are"
        raise InputError(msg)
    for name, parameter in trained:
        lazy = isinstance(parameter, torch.nn.parameter.UninitializedParameter)
        if lazy or not parameter.is_floating_point():
            kind = "not initialised" if lazy else str(parameter.dtype)
            remedy = "run the model once" if lazy else "use real floating-point parameters"
            msg = f"the parameter {name!r} is {kind}; {remedy}"
            raise UnsupportedError(msg)
        if parameter.is_meta:
            msg = f"the parameter {name!r} has no numbers, on the device 'meta'; load the model"
            raise UnsupportedError(msg)
    finite = fetched(torch.isfinite(p).all() for _, p in trained)  # in one transfer
    for (name, _), fine in zip(trained, finite, strict=True):
        if not fine:
            msg = f"the parameter {name!r} holds NaN or infinity: the run diverged before"
            raise InputError(msg)


def _trouble(module: torch.nn.Module) -> str:
    random = isinstance(module, _DropoutNd) and module.p > 0
    inner = isinstance(module, (torch.nn.RNNBase, torch.nn.MultiheadAttention))
    random = random or (inner and float(module.dropout) > 0)
    if module.training and random:
        return "drops units at random, so the loss is not a function of the weights; model.eval()"
    if not isinstance(module, _NormBase):
        return ""
    batch = isinstance(module, _BatchNorm)
    if module.training and (batch or module.track_running_stats):
        return (
            "normalises by the statistics of its batch and changes its buffers, so the loss is "
            "not a mean over examples; model.eval()"
        )
    if batch and module.running_mean is None:
        return (
            "normalises by the statistics of its batch even in evaluation mode, so examples have "
            "no loss of their own; use track_running_stats=True"
        )
    return ""


def _rounding(flat: FlatModel) -> float:
    return sqrt(torch.finfo(flat.dtype).eps)


def _same(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-30)


class _Halves(TorchFunctionMode):  # type: ignore[misc]
    """Notes the first result in half precision that depends on the parameters."""

    found: torch.dtype | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for part in tree_leaves(out) if self.found is None else ():
            if isinstance(part, torch.Tensor) and part.requires_grad and _short(part):
                self.found = part.dtype
        return out


def _short(tensor: torch.Tensor) -> bool:
    return bool(tensor.is_floating_point() and torch.finfo(tensor.dtype).bits < 32)


def first_rows(flat: FlatModel, x: Examples, y: torch.Tensor) -> tuple[Examples, torch.Tensor]:
    """Return the examples of the trials, where the model is.

    Returns
    -------
    tuple of tensors, and tensor
    """
    *found, goal = flat.moved(*(part[:_TRIED] for part in (*x, y)))
    return tuple(found), goal


def refuse_half(flat: FlatModel, w: torch.Tensor, x: Examples, y: torch.Tensor) -> None:
    """Refuse a model that rounds to half precision inside.

    Raises
    ------
    UnsupportedError
        If it does.
    """
    with suppress(RuntimeError, TypeError, IndexError), torch.enable_grad(), _Halves() as seen:
        flat.loss(w.detach().requires_grad_(True), x, y)
    if seen.found is not None:
        msg = (
            f"the model or its loss computes in {seen.found} inside, whose rounding hides "
            "derivatives; put torch.autocast around the call of the model and not into `forward`, "
            "or switch such parts off while curvature and noise are measured"
        )
        raise UnsupportedError(msg)


def refuse_reduction(flat: FlatModel, w: torch.Tensor, x: Examples, y: torch.Tensor) -> None:
    """Refuse a loss that is no deterministic mean over examples.

    Raises
    ------
    InputError
        If it is random, returns no number, is a sum, or couples examples.
    """
    n = len(y)
    with torch.no_grad(), flat.unrounded():
        buffers = {name: b.clone() for name, b in flat.module.named_buffers()}
        try:
            whole = _scalar(flat, flat.outputs(w, x), y)
        except (RuntimeError, TypeError, IndexError) as error:
            msg = (
                f"the model does not run on these data: {str(error).splitlines()[0]}; give inputs "
                "and targets as in training, or the precision by `dtype`"
            )
            raise InputError(msg) from error
        again = _scalar(flat, flat.outputs(w, x), y)
        if not isfinite(whole):
            msg = f"the loss of the model is {whole}: it has diverged, or its inputs are too large"
            raise InputError(msg)
        # Not to the last bit: a device may add in another order each time.
        if not _same(whole, again, _rounding(flat)):
            msg = (
                "two passes over the same examples gave different losses: the model draws random "
                "numbers; switch off dropout, noise and augmentation inside `forward`"
            )
            raise InputError(msg)
        for name, b in flat.module.named_buffers():
            if not torch.equal(b, buffers[name]):
                msg = f"a pass changes the buffer {name!r}: model.eval(), or freeze it"
                raise InputError(msg)
        if n == 1:
            return
        rows = [slice(i, i + 1) for i in range(n)]
        alone = [_scalar(flat, flat.outputs(w, tuple(p[r] for p in x)), y[r]) for r in rows]
    _refuse_sum(whole, alone, _rounding(flat))


def _scalar(flat: FlatModel, outputs: Any, y: torch.Tensor) -> float:
    # Moved away from the model's own outputs: a sum of losses that vanish looks like a mean.
    if isinstance(outputs, torch.Tensor) and outputs.is_floating_point():
        steps = torch.arange(1, outputs[0].numel() + 1, device=outputs.device)
        outputs = outputs + torch.sin(steps.to(outputs.dtype)).reshape(outputs[0].shape)
    value = flat.loss_function(outputs, y)
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        msg = (
            f"`loss_function` must return the mean over examples, one number, got {shape}; use "
            'reduction="mean"'
        )
        raise InputError(msg)
    return float(value)


def _refuse_sum(whole: float, alone: list[float], tolerance: float) -> None:
    mean = sum(alone) / len(alone)
    if _same(whole, mean, tolerance):
        return
    if _same(whole, sum(alone), tolerance):
        msg = (
            'the loss is a sum over examples: use reduction="mean", or divide it by the number of '
            "rows; rates, curvature and noise are per example here"
        )
        raise InputError(msg)
    msg = (
        f"the loss of {len(alone)} examples is {whole:.6g}, the mean of their own losses "
        f"{mean:.6g}: examples act on one another; class weights, padding that is left out, "
        "contrastive losses and statistics of the batch do that"
    )
    raise InputError(msg)


def activations(flat: FlatModel, w: torch.Tensor, x: Examples) -> int:
    """Count the numbers that one example fills on its way through the model.

    Returns
    -------
    int
    """
    counted: list[int] = [sum(part[0].numel() for part in x)]

    def count(_module: Any, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            counted.append(output.numel())

    leaves = [m for m in flat.module.modules() if not any(True for _ in m.children())]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        with torch.no_grad():
            flat.outputs(w, tuple(part[:1] for part in x))
    finally:
        for handle in handles:
            handle.remove()
    return max(1, int(sum(counted)))


def choose_route(flat: FlatModel, w: torch.Tensor, x: Examples, y: torch.Tensor) -> Route:
    """Return the transforms where they serve the model and agree with plain autograd.

    Returns
    -------
    ByTransforms or ByAutograd
    """
    fast, plain = ByTransforms(flat), ByAutograd(flat)
    x, y = tuple(part[:2] for part in x), y[:2]
    V = torch.stack([torch.ones_like(w), torch.cos(torch.arange(len(w), device=w.device).to(w))], 1)
    try:
        wanted = plain.per_example(w, x, y), plain.products(w, V, x, y, 2)
    except RuntimeError:
        return ByAutograd(flat, twice=False)
    found: tuple[torch.Tensor, ...] = ()
    with suppress(RuntimeError, NotImplementedError, ValueError, TypeError):
        found = fast.per_example(w, x, y), fast.products(w, V, x, y, 2)
    # Torch leaves out, without a word, what a custom function does not hand on a second time.
    if not _belongs(flat, w, V[:, 1], wanted[1][:, 1], x, y):
        return ByAutograd(flat, twice=False)
    return fast if found and all(map(_close, found, wanted)) else plain


def _close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    tolerance = sqrt(torch.finfo(theirs.dtype).eps)
    return float((ours - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


def _belongs(
    flat: FlatModel,
    w: torch.Tensor,
    v: torch.Tensor,
    product: torch.Tensor,
    x: Examples,
    y: torch.Tensor,
) -> bool:
    # Whether a product is the difference of gradients, at one of two steps: one may meet a kink.
    eps, scale = torch.finfo(flat.dtype).eps, max(1.0, float(w.abs().max()))
    for step in (eps ** (1 / 3) * scale, 0.1 * eps ** (1 / 3) * scale):
        high, low = (flat.loss_and_gradient(w + s * v, x, y)[1] for s in (step, -step))
        rounding = 100.0 * eps * float(high.abs().max()) / step
        gap = float(((high - low) / (2.0 * step) - product).abs().max())
        if gap <= _AGREE * float(product.abs().max()) + rounding:
            return True
    return False
