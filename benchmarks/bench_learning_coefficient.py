"""How near is a learning coefficient to the exact one at equal gradients, against devinterp?

Normal crossings and linear networks M-2-N whose truth is zero, about the origin, at an inverse
temperature of 1000 and a localization of 1.  The exact value is that of this temperature and this
localization: the crossings are integrals over a plane, and in a linear network the second layer
integrates out, so that two singular values of the first are left.  Both programs get 8 chains of
1000 steps of burn-in and 2000 draws, one gradient each: 24,000 gradients.  devinterp has the steps
of its own tests, fracsde chooses its own in burn-in.  Errors are in units of the exact value; the
stated error of devinterp is its deviation over chains, over the root of their number.

Predicted before the first run: fracsde is within 3 % everywhere and within three of its standard
errors; devinterp misses by 5 to 70 %, most where the loss is flattest, and its stated error does
not tell.  Per processor second fracsde takes 30 times as many steps on functions and 100 times as
many on networks.  The compiled chains of a perceptron 64-32-10 on 1797 digits cost a gradient each,
so their rate is that of gradients: about 400 a second of one core.

Run with ``OPENBLAS_NUM_THREADS=1 python -m benchmarks.bench_learning_coefficient``.
"""

from __future__ import annotations

from importlib.util import find_spec
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench_sgd_replicas import digits
from benchmarks.peers.learning_coefficient import devinterp_estimate
from benchmarks.work import header, measure, table
from fracsde.estimators import FunctionLoss, learning_coefficient
from fracsde.estimators.known_coefficients import monomial, reduced_rank
from fracsde.networks import Network

if TYPE_CHECKING:
    from collections.abc import Callable

N_BETA, PULL, CHAINS, BURN_IN, DRAWS = 1000.0, 1.0, 8, 1000, 2000
GRADIENTS = CHAINS * (BURN_IN + DRAWS)
STEPS = {"crossing": 1e-4, "network": 6e-4}


def exact_crossing(k: tuple[int, ...]) -> float:
    """Integrals over the logarithms of the weights; the integrand is smooth and has its ends."""
    grid = np.linspace(-40.0, 2.5, 3000)
    logs = np.meshgrid(*[grid] * len(k), indexing="ij")
    height = N_BETA * np.exp(sum(2 * power * x for power, x in zip(k, logs, strict=True)))
    square = sum(np.exp(2 * x) for x in logs)
    mass = np.exp(-height - 0.5 * PULL * square + sum(logs))
    return float((height * mass).sum() / mass.sum())


def exact_network(M: int, N: int) -> float:
    """Over the two singular values of the first layer."""
    grid = np.linspace(0.5 * np.log(PULL / N_BETA) - 12.0, np.log(8.0), 1500)
    u, v = np.meshgrid(grid, grid)
    s, r = np.exp(2 * u), np.exp(2 * v)
    held = (N_BETA * s + PULL) * (N_BETA * r + PULL)
    mass = np.abs(s - r) * (s * r) ** (0.5 * (M - 1)) * np.exp(-0.5 * PULL * (s + r))
    mass *= (held / N_BETA**2) ** (-0.5 * N)
    share = 0.5 * N * N_BETA * (s / (N_BETA * s + PULL) + r / (N_BETA * r + PULL))
    return float((share * mass).sum() / mass.sum())


def crossing(k: tuple[int, ...]) -> FunctionLoss:
    powers = np.array(k)

    def value(w: np.ndarray) -> np.ndarray:
        return np.prod(w ** (2 * powers), axis=1)

    def gradient(w: np.ndarray) -> np.ndarray:
        parts = w ** (2 * powers)
        slopes = 2 * powers * w ** (2 * powers - 1)
        others = [np.prod(np.delete(parts, i, axis=1), axis=1) for i in range(len(k))]
        return slopes * np.stack(others, axis=1)

    return FunctionLoss(
        value=value, gradient=gradient, parameters=len(k), examples=1000, vectorized=True
    )


def linear(M: int, N: int) -> Network:
    return Network(
        inputs=np.eye(M) * M**0.5,
        targets=np.zeros((M, N)),
        hidden=(2,),
        activation="identity",
        objective="squared_error",
        bias=False,
    )


def torch_crossing(k: tuple[int, ...]) -> Callable[[Any], Any]:
    import torch

    powers = torch.tensor([2.0 * power for power in k])
    return lambda w: torch.prod(w**powers)


def torch_linear(M: int, N: int) -> Callable[[Any], Any]:
    def loss(w: Any) -> Any:
        product = w[: 2 * M].reshape(M, 2) @ w[2 * M :].reshape(2, N)
        return 0.5 * (product * product).sum()

    return loss


def ours(loss: Any) -> tuple[float, float, float]:
    clock = process_time()
    found = learning_coefficient(
        loss,
        np.zeros(loss.parameters),
        n_beta=N_BETA,
        localization=PULL,
        chains=CHAINS,
        draws=DRAWS,
        burn_in=BURN_IN,
        rng=1,
    )
    return float(found.value[0]), float(found.stderr[0]), process_time() - clock


def theirs(loss: Callable[[Any], Any], size: int, step: float) -> tuple[float, float, float]:
    clock = process_time()
    value, spread = devinterp_estimate(
        loss,
        size,
        n_beta=N_BETA,
        localization=PULL,
        step=step,
        chains=CHAINS,
        draws=DRAWS,
        burn_in=BURN_IN,
    )
    return value, spread / CHAINS**0.5, process_time() - clock


def line(label: str, exact: float, limit: str, found: tuple[float, float, float] | None) -> str:
    if found is None:
        return f"{label:26}  devinterp < 2 is not installed"
    value, stderr, seconds = found
    miss = (value - exact) / exact
    return (
        f"{label:26}  {exact:6.4f}  {limit:>6}  {value:7.4f}  {stderr:7.4f}  {miss:+7.1%}"
        f"  {(value - exact) / stderr:+6.1f}  {GRADIENTS / seconds:11,.0f}"
    )


def rows() -> list[str]:
    here = find_spec("devinterp") is not None
    found = []
    for k in ((1,), (2,), (3,), (1, 1), (1, 2), (2, 2)):
        exact, limit, name = exact_crossing(k), str(monomial(k).value), f"k = {list(k)}"
        peer = theirs(torch_crossing(k), len(k), STEPS["crossing"]) if here else None
        ours(crossing(k))
        found.append(line(f"{name}, fracsde", exact, limit, ours(crossing(k))))
        found.append(line(f"{name}, devinterp", exact, limit, peer))
    for M, N in ((2, 2), (3, 3), (5, 5)):
        exact, limit = exact_network(M, N), str(reduced_rank(M, 2, N, 0).value)
        net, name = linear(M, N), f"{M}-2-{N}"
        step = STEPS["network"]
        peer = theirs(torch_linear(M, N), net.parameters, step) if here else None
        ours(net)
        found.append(line(f"{name}, fracsde", exact, limit, ours(net)))
        found.append(line(f"{name}, devinterp", exact, limit, peer))
    return found


def chain_steps() -> str:
    net = digits(32)
    start = net.initial_parameters(np.random.default_rng(0))
    options = {"step": 1e-4, "chains": 8, "draws": 40, "burn_in": 0, "rng": 1}
    timings = [
        measure(
            "64-32-10, all 1797 digits, mala",
            lambda: learning_coefficient(net, start, **options),
            units=8 * 40,
        ),
        measure(
            "the gradient alone",
            lambda: [net.loss_and_gradient(start) for _ in range(40)],
            units=40,
        ),
        measure(
            "64-32-10, batches of 32, sgld",
            lambda: learning_coefficient(
                net, start, sampler="sgld", batch_size=32, **options | {"draws": 1000}
            ),
            units=8 * 1000,
        ),
    ]
    return table(timings, unit="steps", reference=timings[0].label)


def main() -> None:
    print(header(__doc__.splitlines()[0]))
    print()
    print(f"{'':26}  {'exact':>6}  lambda  found    stderr     miss  sigmas  gradients/s")
    print("\n".join(rows()))
    print()
    print(chain_steps())


if __name__ == "__main__":
    main()
