r"""A module as a function of one flat vector, and its derivatives by two routes.

.. math::
    w \mapsto \frac1n \sum_i \ell(f(x_i; w), y_i), \qquad
    H v = \partial_\epsilon \nabla L(w + \epsilon v), \qquad
    G v = \frac1n \sum_i J_i^T\, \ell''_i\, J_i v .

``torch.func`` maps one derivative over examples or over columns; it needs every operation of the
model to be known to it.  Where one is not (a custom autograd function without a batching rule, an
operation in place), plain autograd does the same one example or one column at a time, by
differentiating the graph of the gradient once more.

Fused attention has no second derivative; all but the first derivative is computed with attention
in its parts.  Autocast is off inside: what is differentiated is rounded as the parameters are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call, grad, jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from fracsde.errors import UnsupportedError
from fracsde.recording.torch.devices import home_of, unrounded

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    import numpy as np

    Examples = tuple[torch.Tensor, ...]

__all__ = ["ByAutograd", "ByTransforms", "FlatModel", "Route"]


class FlatModel:
    """A module whose trained parameters are one flat vector.

    Parameters
    ----------
    module : torch.nn.Module
        Owned by this object; its parameters are only read for their shapes.
    loss_function : callable
        ``(outputs, targets) -> scalar``.
    """

    def __init__(self, module: torch.nn.Module, loss_function: Callable[..., Any]) -> None:
        self.module, self.loss_function = module, loss_function
        trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in trained]
        self.shapes = [tuple(p.shape) for _, p in trained]
        self.sizes = [p.numel() for _, p in trained]
        self._kinds = [(p.device, p.dtype) for _, p in trained]
        self.device = trained[0][1].device  # of the vector
        self.home = home_of(module)  # of the whole module, None if it is spread over several
        self._types = {"cpu", *(p.device.type for p in module.parameters())}
        self.dtype = trained[0][1].dtype
        for _, p in trained:
            self.dtype = torch.promote_types(self.dtype, p.dtype)
        # What calls later replace must not be trained, or autograd would follow it as well.
        module.requires_grad_(False)

    @property
    def parameters(self) -> int:
        """Number of entries of the flat vector."""
        return sum(self.sizes)

    def flat(self) -> torch.Tensor:
        """Return the module's own parameters as one vector, double precision."""
        own = dict(self.module.named_parameters())
        parts = [own[n].detach().reshape(-1).to(self.device, self.dtype) for n in self.names]
        return torch.cat(parts).cpu().double()

    def point(self, w: np.ndarray[Any, Any]) -> torch.Tensor:
        """Return vectors of the host where the parameters are, in their precision."""
        # Rounded here, since not every device has double precision; a tensor of its own, for the
        # vector may be read-only.
        return torch.tensor(w, dtype=self.dtype, device="cpu").to(self.device)

    def moved(self, *parts: torch.Tensor) -> Examples:
        """Return examples where the module is; where they are if it is in several places."""
        return parts if self.home is None else tuple(part.to(self.home) for part in parts)

    def unrounded(self, *, parts: bool = False) -> ExitStack:
        """Return a context without autocast, and with attention in its parts if asked."""
        context = unrounded(self._types)
        if parts:
            context.enter_context(sdpa_kernel(SDPBackend.MATH))
        return context

    def outputs(self, w: torch.Tensor, x: Examples) -> Any:
        """Return what the module returns at ``w``."""
        parts = {}
        pieces = zip(self.names, torch.split(w, self.sizes), self.shapes, self._kinds, strict=True)
        for name, part, shape, (device, dtype) in pieces:
            parts[name] = part.reshape(shape).to(device=device, dtype=dtype)
        with self.unrounded():
            return functional_call(self.module, parts, x)

    def loss(self, w: torch.Tensor, x: Examples, y: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch at ``w``."""
        with self.unrounded():
            return self.loss_function(self.outputs(w, x), y)

    def loss_and_gradient(
        self, w: torch.Tensor, x: Examples, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of a batch and its gradient, by autograd."""
        with torch.enable_grad(), self.unrounded():
            point = w.detach().requires_grad_(True)
            value = self.loss(point, x, y)
            (slope,) = torch.autograd.grad(value, point)
        return value.detach(), slope


class ByTransforms:
    """Derivatives by ``torch.func``: one batched pass for many examples or columns."""

    name = "torch.func"

    def __init__(self, model: FlatModel) -> None:
        self._model = model
        self._each = vmap(grad(self._one), in_dims=(None, 0, 0))

    def _one(self, w: torch.Tensor, x: Examples, y: torch.Tensor) -> torch.Tensor:
        return self._model.loss(w, tuple(part[None] for part in x), y[None])

    def per_example(self, w: torch.Tensor, x: Examples, y: torch.Tensor) -> torch.Tensor:
        """Return the gradient of each example, ``(n, P)``."""
        with self._model.unrounded(parts=True):
            return self._each(w, x, y)

    def products(
        self, w: torch.Tensor, V: torch.Tensor, x: Examples, y: torch.Tensor, columns: int
    ) -> torch.Tensor:
        """Return the Hessian of a batch times the columns of ``V``, ``(P, k)``."""
        slope = grad(lambda u: self._model.loss(u, x, y))

        def product(v: torch.Tensor) -> torch.Tensor:
            return jvp(slope, (w,), (v,))[1]

        with self._model.unrounded(parts=True):
            return vmap(product, in_dims=1, out_dims=1, chunk_size=columns)(V)

    def gauss_newton(
        self, w: torch.Tensor, V: torch.Tensor, x: Examples, y: torch.Tensor, columns: int
    ) -> torch.Tensor:
        """Return the Gauss-Newton matrix of a batch times the columns of ``V``."""

        def outputs(u: torch.Tensor) -> torch.Tensor:
            return self._model.outputs(u, x)

        with self._model.unrounded(parts=True):
            z, back = vjp(outputs, w)[:2]
        slope = grad(lambda out: self._model.loss_function(out, y))

        def product(v: torch.Tensor) -> torch.Tensor:
            moved = jvp(outputs, (w,), (v,))[1]
            return back(jvp(slope, (z,), (moved,))[1])[0]

        with self._model.unrounded(parts=True):
            return vmap(product, in_dims=1, out_dims=1, chunk_size=columns)(V)


class ByAutograd:
    """Derivatives by plain autograd: one backward pass per example or column."""

    name = "autograd"

    def __init__(self, model: FlatModel, *, twice: bool = True) -> None:
        self._model, self._twice = model, twice

    def per_example(self, w: torch.Tensor, x: Examples, y: torch.Tensor) -> torch.Tensor:
        """Return the gradient of each example, ``(n, P)``."""
        rows = [
            self._model.loss_and_gradient(w, tuple(p[i : i + 1] for p in x), y[i : i + 1])[1]
            for i in range(len(y))
        ]
        return torch.stack(rows)

    def products(
        self, w: torch.Tensor, V: torch.Tensor, x: Examples, y: torch.Tensor, columns: int
    ) -> torch.Tensor:
        """Return the Hessian of a batch times the columns of ``V``; ``columns`` is not used."""
        self._refuse_once()
        with torch.enable_grad(), self._model.unrounded(parts=True):
            point = w.detach().requires_grad_(True)
            value = self._model.loss(point, x, y)
            (slope,) = torch.autograd.grad(value, point, create_graph=True)
            out = [_again(slope, point, v) for v in V.unbind(1)]
        return torch.stack(out, dim=1)

    def gauss_newton(
        self, w: torch.Tensor, V: torch.Tensor, x: Examples, y: torch.Tensor, columns: int
    ) -> torch.Tensor:
        """Return the Gauss-Newton matrix of a batch times ``V``; ``columns`` is not used."""
        self._refuse_once()
        with torch.enable_grad(), self._model.unrounded(parts=True):
            point = w.detach().requires_grad_(True)
            z = self._model.outputs(point, x)
            # J v is the derivative by u of (J^T u) . v, whatever u.
            u = torch.zeros_like(z, requires_grad=True)
            (pulled,) = torch.autograd.grad(z, point, u, create_graph=True)
            out = z.detach().requires_grad_(True)
            value = self._model.loss_function(out, y)
            (slope,) = torch.autograd.grad(value, out, create_graph=True)
            columns_out = []
            for v in V.unbind(1):
                moved = _again(pulled, u, v)
                turned = _again(slope, out, moved)
                (back,) = torch.autograd.grad(z, point, turned, retain_graph=True)
                columns_out.append(back)
        return torch.stack(columns_out, dim=1)

    def _refuse_once(self) -> None:
        if not self._twice:
            msg = (
                "the model cannot be differentiated twice, so it has no curvature: products are "
                "not the derivative of its gradient; give its custom functions a differentiable "
                "backward, and train without weight_norm, whose second derivative torch gets wrong"
            )
            raise UnsupportedError(msg)


Route = ByTransforms | ByAutograd


def _again(slope: torch.Tensor, point: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    # Derivative of slope . v by the point; zero where the slope does not depend on it.
    if not slope.requires_grad:
        return torch.zeros_like(point)
    (found,) = torch.autograd.grad(
        slope, point, v.to(slope.dtype), retain_graph=True, allow_unused=True
    )
    return torch.zeros_like(point) if found is None else found.detach()
