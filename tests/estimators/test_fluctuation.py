"""Both fluctuation-dissipation relations along simulated runs, with the right and wrong factors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fracsde.errors import InputError, RecordError, ShapeError, UnsupportedError
from fracsde.estimators import fluctuation_dissipation, second_fluctuation_dissipation
from fracsde.recording import Recorder
from fracsde.records.store import Stream, open_run
from tests.support.laws import BUDGET, LOOKS
from tests.support.quadratic_loss import QuadraticLoss

N, BATCH, SIZE = 40, 4, 3
ALARM = BUDGET / LOOKS


def regression(seed):
    """Finite-data least squares: noise depends on the state, no Gaussian assumption anywhere."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, SIZE)) * np.array([1.5, 1.0, 0.5])
    return x, x @ np.array([2.0, -1.0, 3.0]) + rng.normal(size=N)


def batches(sampling, chains, steps, rng):
    if sampling == "with replacement":
        return rng.integers(N, size=(chains, steps, BATCH))
    if sampling == "without replacement":
        return np.argsort(rng.random((chains, steps, N)), axis=2)[..., :BATCH]
    epochs = -(-steps * BATCH // N)
    order = np.argsort(rng.random((chains, epochs, N)), axis=2)
    return order.reshape(chains, -1, BATCH)[:, :steps]


def run(
    seed,
    *,
    eta,
    mu=0.0,
    tau=0.0,
    decay=0.0,
    nesterov=False,
    sampling="with replacement",
    chains=24,
    steps=400,
    burn=200,
):
    """SGD as torch does it; streams of the weights before and the buffer after each step."""
    rng = np.random.default_rng(seed)
    x, y = regression(0)
    chosen = batches(sampling, chains, steps + burn, rng)
    H = x.T @ x / N
    w = np.tile(np.linalg.solve(H + decay * np.eye(SIZE), x.T @ y / N), (chains, 1))
    b = np.zeros_like(w)
    kept = {"weights": [], "gradients": [], "velocities": []}
    for t in range(steps + burn):
        rows = chosen[:, t]
        errors = np.einsum("cbk,ck->cb", x[rows], w) - y[rows]
        g = np.einsum("cb,cbk->ck", errors, x[rows]) / BATCH
        b = mu * b + (1.0 - tau) * (g + decay * w)
        if t >= burn:
            for name, value in zip(kept, (w, g, b), strict=True):
                kept[name].append(value)
        w = w - eta * (g + decay * w + mu * b if nesterov else b)
    kept = {name: np.swapaxes(values, 0, 1) for name, values in kept.items()}
    w, g, b = kept.values()
    streams = {
        "weight_dot_gradient": np.sum(w * g, axis=2),
        "gradient_norm_squared": np.sum(g * g, axis=2),
        "weight_norm_squared": np.sum(w * w, axis=2),
        "velocity_norm_squared": np.sum(b * b, axis=2),
    }
    return streams, kept


SETTINGS = [
    {"eta": 0.1},
    {"eta": 0.1, "sampling": "without replacement"},
    {"eta": 0.1, "sampling": "epochs", "mu": 0.5},
    {"eta": 0.05, "mu": 0.9},
    {"eta": 0.05, "mu": 0.9, "tau": 0.4, "decay": 0.1},
    {"eta": 0.1, "decay": 0.3},
    {"eta": 0.05, "mu": 0.9, "decay": 0.1, "nesterov": True},
    {"eta": 0.1, "mu": 0.5, "nesterov": True, "sampling": "epochs"},
]


def told(settings):
    names = {"eta": "learning_rate", "mu": "momentum", "tau": "dampening", "decay": "weight_decay"}
    names["nesterov"] = "nesterov"
    return {names[k]: v for k, v in settings.items() if k in names}


@pytest.mark.parametrize("settings", SETTINGS)
def test_law_first_relation_holds_for_any_sampling(settings, seed) -> None:
    streams, vectors = run(seed, **settings)
    options = {**told(settings), "level": ALARM}
    found = fluctuation_dissipation(streams, **options)
    assert found.stationary, found.sentence
    assert found.interval[0] < 1.0 < found.interval[1]
    assert found.stderr[0] < 0.1
    speeds = settings["eta"] ** 2 * streams["velocity_norm_squared"]
    steps = {**streams, "velocity_norm_squared": speeds}
    other = fluctuation_dissipation(steps, velocity="step", **options)
    assert other.value[0] == pytest.approx(found.value[0], rel=1e-12)
    # Whole vectors are counted from their mean: the error is smaller, also of every fourth step.
    del vectors["velocities"]
    centred = fluctuation_dissipation(streams | vectors, **options)
    assert centred.interval[0] < 1.0 < centred.interval[1]
    assert centred.stderr[0] < min(0.02, found.stderr[0])
    part = {name: values[:, ::4] for name, values in (streams | vectors).items()}
    fourth = fluctuation_dissipation(part, **options)
    assert fourth.interval[0] < 1.0 < fourth.interval[1]
    del part["weights"]
    plain = fluctuation_dissipation(part, **options)
    assert plain.stderr[0] > 2.0 * fourth.stderr[0]


@pytest.mark.twin
@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"eta": 0.1}, {"learning_rate": 0.11}),
        ({"eta": 0.05, "mu": 0.9}, {"learning_rate": 0.0275, "momentum": 0.0}),
        ({"eta": 0.05, "mu": 0.9}, {"momentum": 0.8}),
        ({"eta": 0.05, "mu": 0.9, "tau": 0.4}, {"dampening": 0.0}),
        ({"eta": 0.1, "decay": 0.3}, {"weight_decay": 0.0}),
        ({"eta": 0.1, "mu": 0.7, "nesterov": True}, {"nesterov": False}),
        ({"eta": 0.1, "mu": 0.7}, {"nesterov": True}),
    ],
)
def test_twin_wrong_factors_are_rejected(settings, wrong, seed) -> None:
    streams, vectors = run(seed, **settings)
    del vectors["velocities"]
    options = {**told(settings), **wrong, "level": ALARM}
    found = fluctuation_dissipation(streams | vectors, **options)
    assert not found.interval[0] < 1.0 < found.interval[1]


def test_a_run_that_drifts_is_named(seed) -> None:
    rng = np.random.default_rng(seed)
    w, cross, square = np.full(32, 8.0), [], []
    for _ in range(100):
        g = w + rng.normal(size=32)
        cross.append(w * g)
        square.append(g * g)
        w = w - 0.02 * g
    streams = {"weight_dot_gradient": np.transpose(cross)}
    streams["gradient_norm_squared"] = np.transpose(square)
    found = fluctuation_dissipation(streams, learning_rate=0.02)
    assert not found.stationary
    assert "had not settled" in found.sentence
    assert found.value[0] > 5.0


def quadratic_run(
    seed, eta, mu=0.0, sampling="independent", nesterov=False, chains=32, draws=60, every=5
):
    rng = np.random.default_rng(seed)
    H = np.array([[1.0, 0.3], [0.3, 0.5]])
    shifts = np.random.default_rng(1).normal(size=(30, 2))
    shifts -= shifts.mean(axis=0)
    loss = QuadraticLoss(H=H, shifts=shifts, centre=np.array([3.0, -2.0]))
    w, b = np.tile(loss.centre, (chains, 1)), np.zeros((chains, 2))
    kept = []
    order = np.argsort(rng.random((chains, 30)), axis=1)
    for t in range(150 + draws * every):
        if t % 30 == 0:
            order = np.argsort(rng.random((chains, 30)), axis=1)
        row = order[:, t % 30] if sampling == "epochs" else rng.integers(30, size=chains)
        g = (w - loss.centre) @ H + shifts[row]
        b = mu * b + g
        if t >= 150 and (t - 150) % every == 0:
            kept.append((w, g, b))
        w = w - eta * (g + mu * b if nesterov else b)
    w, g, b = np.array(kept).transpose(1, 2, 0, 3)
    return loss, {"weights": w, "gradients": g, "velocities": b}


@pytest.mark.parametrize(
    ("eta", "mu", "nesterov"), [(0.4, 0.0, False), (0.1, 0.8, False), (0.5, 0.8, True)]
)
def test_law_second_relation_is_exact_on_a_quadratic_loss(eta, mu, nesterov, seed) -> None:
    loss, vectors = quadratic_run(seed, eta, mu, nesterov=nesterov)
    rule = {"learning_rate": eta, "momentum": mu, "nesterov": nesterov}
    found = second_fluctuation_dissipation(loss, **vectors, **rule, level=ALARM)
    assert found.interval[0] < 1.0 < found.interval[1]
    assert found.stationary
    assert found.stderr[0] < 0.05
    steps = {**vectors, "velocities": eta * vectors["velocities"]}
    other = second_fluctuation_dissipation(loss, **steps, **rule, velocity="step")
    assert other.value[0] == pytest.approx(found.value[0], rel=1e-12)


@pytest.mark.parametrize("rule", [{}, {"momentum": 0.6}, {"momentum": 0.6, "nesterov": True}])
def test_law_second_relation_of_shuffled_epochs_knows_what_batches_remember(rule, seed) -> None:
    # Every seventh step, which meets all phases of an epoch of thirty alike.
    how = {"mu": rule.get("momentum", 0.0), "nesterov": "nesterov" in rule, "every": 7}
    loss, vectors = quadratic_run(seed, 0.1, sampling="epochs", draws=150, **how)
    given = {**vectors, "learning_rate": 0.1, **rule, "level": ALARM}
    found = second_fluctuation_dissipation(loss, **given, shuffled=True)
    assert found.interval[0] < 1.0 < found.interval[1]
    assert found.stderr[0] < 0.1
    wrong = second_fluctuation_dissipation(loss, **given)  # twin: batches taken for independent
    assert wrong.interval[1] < 1.0


@pytest.mark.twin
def test_twin_second_relation_fails_for_the_printed_momentum_and_for_nesterovs(seed) -> None:
    loss, vectors = quadratic_run(seed, 0.5, 0.8, nesterov=True)
    heavy = second_fluctuation_dissipation(loss, **vectors, learning_rate=0.5, momentum=0.8)
    assert not heavy.interval[0] < 1.0 < heavy.interval[1]
    loss, vectors = quadratic_run(seed, 0.1, 0.8)
    # The relation without momentum, taken over as it is printed.
    printed = second_fluctuation_dissipation(loss, **vectors, learning_rate=0.1)
    assert printed.interval[0] > 1.5


def stored(streams, training, skipped=0):
    """What a stored run offers, row 0 without gradients."""
    arrays = {}
    for name, values in streams.items():
        for chain, row in enumerate(values):
            whole = np.concatenate([[np.nan], row]).astype(np.float32)[:, None]
            arrays[name, chain] = whole[: len(whole) - (skipped if chain == 0 else 0)]
    count = len(next(iter(streams.values())))
    return SimpleNamespace(
        streams={name: Stream(name, 1, unit="(loss/weight)**2") for name in streams},
        chains=tuple(range(count)),
        metadata={"training": training},
        array=lambda name, chain: arrays[name, chain],
        steps=lambda chain: np.arange(len(arrays["gradient_norm_squared", chain])),
    )


def test_reads_a_stored_run_and_what_it_says_of_itself(seed) -> None:
    streams, _ = run(seed, eta=0.05, mu=0.9, tau=0.4, decay=0.1)
    training = {"optimizer": "SGD", "learning_rate": 0.05, "momentum": 0.9, "dampening": 0.4}
    training |= {"nesterov": False, "weight_decay": 0.1}
    found = fluctuation_dissipation(stored(streams, training))
    plain = fluctuation_dissipation(
        streams, learning_rate=0.05, momentum=0.9, dampening=0.4, weight_decay=0.1
    )
    assert found.value[0] == pytest.approx(plain.value[0], rel=1e-5)
    with pytest.raises(InputError, match="`nesterov` needs momentum and no dampening"):
        fluctuation_dissipation(stored(streams, {**training, "nesterov": True}))
    ahead = {**training, "nesterov": True, "dampening": 0.0}
    expected = fluctuation_dissipation(
        streams, learning_rate=0.05, momentum=0.9, weight_decay=0.1, nesterov=True
    )
    found = fluctuation_dissipation(stored(streams, ahead))
    assert found.value[0] == pytest.approx(expected.value[0], rel=1e-5)
    with pytest.raises(UnsupportedError, match=r"not of Adam.*adaptive_near_minimum"):
        fluctuation_dissipation(stored(streams, {**training, "optimizer": "Adam"}))
    with pytest.raises(UnsupportedError, match="groups that differ"):
        fluctuation_dissipation(stored(streams, {**training, "groups": [{}, {}]}))
    with pytest.raises(RecordError, match="unequal lengths"):
        fluctuation_dissipation(stored(streams, training, skipped=3))
    rates = np.linspace(0.1, 0.2, 400) + np.zeros((24, 1))
    with pytest.raises(UnsupportedError, match="learning rate of the run changed"):
        fluctuation_dissipation(stored({**streams, "learning_rate": rates}, training))


@pytest.mark.parametrize("rule", [{"dampening": 0.3}, {"nesterov": True}])
def test_routes_agree_recorded_by_torch_and_by_hand(rule, tmp_path, seed) -> None:
    # Torch's own optimiser with all that it has; the run says of itself what the relation needs.
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from fracsde.recording.torch import record

    rng = np.random.default_rng(seed)
    x, y = (torch.tensor(part) for part in regression(0))
    for chain in range(16):
        model = torch.nn.Linear(SIZE, 1, bias=False).double()
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.9, -0.9, 2.0]]))
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.05, momentum=0.8, weight_decay=0.1, **rule
        )
        with record(model, optimizer, tmp_path / "run", chain=chain, gradients=True):
            for _ in range(160):
                rows = torch.tensor(rng.integers(N, size=BATCH))
                optimizer.zero_grad()
                (0.5 * (model(x[rows])[:, 0] - y[rows]).square().mean()).backward()
                optimizer.step()
    run = open_run(tmp_path / "run")
    found = fluctuation_dissipation(run, start=50, level=ALARM)
    assert found.stationary, found.sentence
    assert found.interval[0] < 1.0 < found.interval[1]
    assert found.stderr[0] < 0.05  # from whole vectors
    other = {"momentum": 0.0, "dampening": 0.0} if "dampening" in rule else {"nesterov": False}
    wrong = fluctuation_dissipation(run, start=50, **other)
    assert not wrong.interval[0] < 1.0 < wrong.interval[1]
    names = ("weight_dot_gradient", "weight_norm_squared", "velocity_norm_squared")
    norms = {
        name: np.stack([run.array(name, c)[1:, 0] for c in run.chains])
        for name in (*names, "gradient_norm_squared")
    }
    options = {"momentum": 0.8, "weight_decay": 0.1, "learning_rate": 0.05, **rule}
    scalars = fluctuation_dissipation(norms, start=50, level=ALARM, **options)
    assert scalars.interval[0] < 1.0 < scalars.interval[1]
    assert scalars.right == pytest.approx(found.right, rel=1e-5)
    assert scalars.stderr[0] > found.stderr[0]


def test_routes_agree_velocity_is_read_as_the_unit_of_its_stream_says(tmp_path, seed) -> None:
    settings = {"eta": 0.05, "mu": 0.9}
    streams, _ = run(seed, chains=16, steps=60, **settings)
    names = ("weight_dot_gradient", "gradient_norm_squared", "velocity_norm_squared")
    kinds = {
        "buffer": {n: Stream(n, 1, unit="(loss/weight)**2") for n in names[2:]},
        "step": {n: 1 for n in names[2:]},  # the standard name stands for the step of the weights
        "odd": {n: Stream(n, 1, unit="m**2/s**2") for n in names[2:]},
    }
    for kind, declared in kinds.items():
        for chain in range(16):
            with Recorder(
                tmp_path / kind,
                parameters=1,
                streams={names[0]: 1, names[1]: 1, **declared},
                chain=chain,
                metadata={"training": {**told(settings), "optimizer": "SGD"}},
            ) as recorder:
                recorder.record(0, [0.0])
                for t in range(60):
                    row = {n: float(streams[n][chain, t]) for n in names}
                    if kind == "step":
                        row[names[2]] *= settings["eta"] ** 2
                    recorder.record(t + 1, [0.0], **row)
    expected = fluctuation_dissipation(streams, **told(settings)).value[0]
    stored = {kind: open_run(tmp_path / kind) for kind in kinds}
    for kind in ("buffer", "step"):
        found = fluctuation_dissipation(stored[kind])
        assert found.value[0] == pytest.approx(expected, rel=1e-12)
        other = "step" if kind == "buffer" else "buffer"
        wrong = fluctuation_dissipation(stored[kind], velocity=other).value[0]
        assert abs(wrong / expected - 1.0) > 0.9  # twin: a factor of eta**2
    with pytest.raises(InputError, match="say which by `velocity`"):
        fluctuation_dissipation(stored["odd"])
    assert fluctuation_dissipation(stored["odd"], velocity="buffer").value[0] == pytest.approx(
        expected, rel=1e-12
    )


def test_refuses_what_it_cannot_measure(seed) -> None:
    streams, vectors = run(seed, eta=0.1, steps=60, burn=0)
    with pytest.raises(InputError, match=r"learning_rate. is not known"):
        fluctuation_dissipation(streams)
    with pytest.raises(InputError, match=r"dampening. without momentum"):
        fluctuation_dissipation(streams, learning_rate=0.1, dampening=0.5)
    with pytest.raises(InputError, match=r"nesterov. needs momentum"):
        fluctuation_dissipation(streams, learning_rate=0.1, nesterov=True)
    norms = {name: streams[name] for name in ("weight_dot_gradient", "gradient_norm_squared")}
    with pytest.raises(RecordError, match=r"velocity_norm_squared.*momentum 0.9"):
        fluctuation_dissipation(norms, learning_rate=0.1, momentum=0.9)
    with pytest.raises(RecordError, match=r"weight_norm_squared.*weight decay"):
        fluctuation_dissipation(norms, learning_rate=0.1, weight_decay=0.1)
    with pytest.raises(RecordError, match="no stream 'weight_dot_gradient'"):
        fluctuation_dissipation({}, learning_rate=0.1)
    with pytest.raises(InputError, match="stored run or a mapping"):
        fluctuation_dissipation(3.0, learning_rate=0.1)
    with pytest.raises(ShapeError, match=r"\(chain, draw, P\)"):
        fluctuation_dissipation({"weights": np.ones(3)}, learning_rate=0.1)
    with pytest.raises(InputError, match="chains of one length"):
        fluctuation_dissipation({"weights": [[1.0], [1.0, 2.0]]}, learning_rate=0.1)
    broken = {**norms, "gradient_norm_squared": np.full((24, 60), np.nan)}
    with pytest.raises(RecordError, match="diverged"):
        fluctuation_dissipation(broken, learning_rate=0.1)
    loss = QuadraticLoss(H=np.eye(SIZE), shifts=np.zeros((5, SIZE)))
    del vectors["velocities"]
    with pytest.raises(RecordError, match="velocities"):
        second_fluctuation_dissipation(loss, **vectors, learning_rate=0.1, momentum=0.9)
