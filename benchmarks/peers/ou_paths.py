"""Ornstein-Uhlenbeck paths by other programs, where they are installed.

Each route draws ``draws`` steps of ``chains`` paths of ``dX = -A (X - m) dt + B dW`` and records
every one.  The exact steps by hand have the law of fracsde's.  torchsde and diffrax have no exact
step; they take one Euler-Maruyama step a draw, whose law is only near: at the same law they would
need many steps a draw, so that their rows are best cases.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["routes", "torch_momentum", "torch_paths"]

_BLOCK = 16  # steps whose normals torch draws, and whose products it takes, at once

Route = "Callable[[], object] | str"


def routes(
    drift: NDArray[Any],
    diffusion: NDArray[Any],
    exact: tuple[NDArray[Any], NDArray[Any]],
    modal: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None,
    *,
    gap: float,
    chains: int,
    draws: int,
) -> dict[str, Callable[[], object] | str]:
    """Return a call for each installed program, and the reason for each that is not.

    Parameters
    ----------
    drift, diffusion : (d, d) float64
        ``A`` and ``B``.
    exact : (d, d) and (d, d) float64
        ``E`` and ``L`` of one gap.
    modal : (d,), (d,) and (d, d) float64, optional
        Decay, scale and basis where coordinates decouple; one product a draw, or none where the
        basis is the identity.
    gap : float
        Between draws.
    chains, draws : int
        Size of the record.
    """
    found: dict[str, Callable[[], object] | str] = {}
    for precision in ("float64", "float32"):
        for whole in (False, True):
            label = f"torch{' in blocks' if whole else ''}, {precision}"
            found[label] = torch_paths(exact, modal, chains, draws, precision, whole=whole)
    for name, make in (("torchsde", _torchsde), ("diffrax", _diffrax)):
        for precision in ("float64", "float32"):
            label = f"{name}, {precision}"
            missing = find_spec(name) is None
            found[label] = (
                f"{name} is not installed"
                if missing
                else make(drift, diffusion, gap, chains, draws, precision)
            )
    return found


def torch_paths(
    exact: tuple[NDArray[Any], NDArray[Any]],
    modal: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None,
    chains: int,
    draws: int,
    precision: str,
    *,
    whole: bool,
) -> Callable[[], object] | str:
    """Return exact steps as one writes them in torch, in place.

    Parameters
    ----------
    exact, modal, chains, draws
        As for :func:`routes`.
    precision : str
        "float64" or "float32".
    whole : bool
        Whether normals are drawn, scaled and multiplied for several steps at once, or for each.
    """
    if find_spec("torch") is None:
        return "torch is not installed"
    import torch

    torch.set_num_threads(1)
    kind, d = getattr(torch, precision), len(exact[0])
    generator = torch.Generator().manual_seed(1)
    record = torch.zeros((draws, chains, d), dtype=kind)
    size = _BLOCK if whole else 1
    z, pushed, states = (torch.zeros((size, chains, d), dtype=kind) for _ in range(3))
    start = torch.zeros((chains, d), dtype=kind)

    if modal is None:
        Et, Lt = (torch.tensor(M.T.copy(), dtype=kind) for M in exact)

        def coupled() -> object:
            x = start
            for n in range(draws):
                if n % size == 0:
                    z.normal_(generator=generator)
                    torch.mm(z.view(-1, d), Lt, out=pushed.view(-1, d))
                torch.addmm(pushed[n % size], x, Et, out=record[n])
                x = record[n]
            return record

        return coupled

    rho, sigma, W = (torch.tensor(M, dtype=kind) for M in modal)
    plain, Wt = bool(torch.equal(W, torch.eye(d, dtype=kind))), W.T.contiguous()

    def decoupled() -> object:
        y = start
        for n in range(draws):
            if n % size == 0:
                z.normal_(generator=generator).mul_(sigma)
            target = record[n] if plain else states[n % size]
            torch.addcmul(z[n % size], y, rho, out=target)
            y = target
            if not plain and (n % size == size - 1 or n == draws - 1):
                count = n % size + 1
                into = record[n + 1 - count : n + 1].view(-1, d)
                torch.mm(states[:count].view(-1, d), Wt, out=into)
        return record

    return decoupled


def torch_momentum(
    hessian: NDArray[Any],
    factor: NDArray[Any],
    rate: float,
    momentum: float,
    chains: int,
    draws: int,
    precision: str,
) -> Callable[[], object] | str:
    """Return steps of SGD with momentum as one writes them in torch: two products a step.

    Parameters
    ----------
    hessian : (d, d) float64
        Of the loss.
    factor : (d, d) float64
        Noise of a gradient for one normal each.
    rate, momentum : float
        Of SGD.
    chains, draws, precision
        As for :func:`torch_paths`.
    """
    if find_spec("torch") is None:
        return "torch is not installed"
    import torch

    torch.set_num_threads(1)
    kind, d = getattr(torch, precision), len(hessian)
    H, Lt = (torch.tensor(-rate * M.T, dtype=kind).contiguous() for M in (hessian, factor))
    generator = torch.Generator().manual_seed(1)
    record = torch.zeros((draws, chains, d), dtype=kind)
    z, pushed = (torch.zeros((_BLOCK, chains, d), dtype=kind) for _ in range(2))

    def run() -> object:
        x, v = (torch.zeros((chains, d), dtype=kind) for _ in range(2))
        for n in range(draws):
            if n % _BLOCK == 0:
                z.normal_(generator=generator)
                torch.mm(z.view(-1, d), Lt, out=pushed.view(-1, d))
            v.mul_(momentum).add_(pushed[n % _BLOCK]).addmm_(x, H)
            torch.add(x, v, out=record[n])
            x = record[n]
        return record

    return run


def _torchsde(
    drift: Any,
    diffusion: Any,
    gap: float,
    chains: int,
    draws: int,
    precision: str,
) -> Callable[[], object]:
    import torch
    import torchsde

    kind = getattr(torch, precision)
    d = len(drift)
    At, Bt = (torch.tensor(M.T.copy(), dtype=kind) for M in (drift, diffusion))

    class Process(torch.nn.Module):
        noise_type, sde_type = "general", "ito"

        def f(self, t: Any, x: Any) -> Any:
            return -(x @ At)

        def g_prod(self, t: Any, x: Any, v: Any) -> Any:
            return v @ Bt

        def g(self, t: Any, x: Any) -> Any:
            return Bt.T.expand(len(x), d, d)

    times = torch.arange(draws + 1, dtype=kind) * gap

    def run() -> object:
        with torch.no_grad():
            motion = torchsde.BrownianInterval(
                t0=0.0, t1=float(times[-1]) + gap, size=(chains, d), dtype=kind, dt=gap
            )
            start = torch.zeros((chains, d), dtype=kind)
            return torchsde.sdeint(
                Process(), start, times, bm=motion, method="euler", dt=gap, options={}
            )

    return run


def _diffrax(
    drift: Any,
    diffusion: Any,
    gap: float,
    chains: int,
    draws: int,
    precision: str,
) -> Callable[[], object]:
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    A, B = (jnp.asarray(M, dtype=precision) for M in (drift, diffusion))
    d, end = len(drift), gap * draws
    times = jnp.asarray(gap * np.arange(1, draws + 1), dtype=precision)

    def one(key: Any) -> Any:
        shape = jax.ShapeDtypeStruct((d,), A.dtype)
        motion = diffrax.UnsafeBrownianPath(shape=shape, key=key)
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda t, x, args: -A @ x),
            diffrax.ControlTerm(lambda t, x, args: B, motion),
        )
        return diffrax.diffeqsolve(
            terms,
            diffrax.Euler(),
            t0=0.0,
            t1=end,
            dt0=gap,
            y0=jnp.zeros(d, dtype=precision),
            saveat=diffrax.SaveAt(ts=times),
            max_steps=2 * draws,
            adjoint=diffrax.DirectAdjoint(),
        ).ys

    paths = jax.jit(jax.vmap(one))
    keys = jax.random.split(jax.random.key(1), chains)
    return lambda: paths(keys).block_until_ready()
