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

__all__ = ["routes"]

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
    for name, make in (("torch", _torch), ("torchsde", _torchsde), ("diffrax", _diffrax)):
        for precision in ("float64", "float32"):
            label = f"{name}, {precision}"
            missing = find_spec(name) is None
            found[label] = (
                f"{name} is not installed"
                if missing
                else make(drift, diffusion, exact, modal, gap, chains, draws, precision)
            )
    return found


def _torch(
    drift: Any,
    diffusion: Any,
    exact: Any,
    modal: Any,
    gap: float,
    chains: int,
    draws: int,
    precision: str,
) -> Callable[[], object]:
    import torch

    kind = getattr(torch, precision)
    d = len(drift)
    generator = torch.Generator().manual_seed(1)
    record = torch.zeros((draws, chains, d), dtype=kind)

    if modal is None:
        Et, Lt = (torch.tensor(M.T.copy(), dtype=kind) for M in exact)

        def coupled() -> object:
            x, noise = torch.zeros((chains, d), dtype=kind), torch.empty((chains, d), dtype=kind)
            for n in range(draws):
                noise.normal_(generator=generator)
                torch.addmm(noise @ Lt, x, Et, out=record[n])
                x = record[n]
            return record

        return coupled

    rho, sigma, W = (torch.tensor(M, dtype=kind) for M in modal)
    plain = bool(torch.equal(W, torch.eye(d, dtype=kind)))

    def decoupled() -> object:
        y, noise = torch.zeros((chains, d), dtype=kind), torch.empty((chains, d), dtype=kind)
        for n in range(draws):
            noise.normal_(generator=generator)
            y.mul_(rho).addcmul_(noise, sigma)
            if plain:
                record[n] = y
            else:
                torch.mm(y, W.T, out=record[n])
        return record

    return decoupled


def _torchsde(
    drift: Any,
    diffusion: Any,
    exact: Any,
    modal: Any,
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
    exact: Any,
    modal: Any,
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
