"""A torch model as a loss: equal to the compiled networks, to dense autograd, and never changed."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest

from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, ShapeError, UnsupportedError
from fracsde.estimators import (
    DifferentiableLoss,
    check_loss,
    curvature,
    gradient_noise,
    gradient_noise_scale,
)
from fracsde.networks import Network, train_to_minimum

torch = pytest.importorskip("torch")

from fracsde.recording.torch import TorchLoss  # noqa: E402 - after the skip

nn, F = torch.nn, torch.nn.functional
DOUBLE = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def half_square(out, y):
    return 0.5 * (out - y).square().sum(dim=1).mean()


def data(seed, rows=30, features=4, classes=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, features)), rng.integers(classes, size=rows)


def mlp(bias=True):
    return nn.Sequential(nn.Linear(4, 5, bias=bias), nn.Tanh(), nn.Linear(5, 3, bias=bias))


def order_of(loss):
    """Places of torch's parameters, (fan out, fan in), in the order of the compiled networks."""
    parts = loss.unflatten(np.arange(loss.parameters))
    return np.concatenate([part.T.ravel() for part in parts.values()]).astype(int)


def dense_hessian(loss, w):
    """The Hessian by torch's own dense routine, on the whole data at once."""
    flat, x, y = loss._flat, loss._inputs, loss._targets

    def value(u):
        return flat.loss(u, x, y) + 0.5 * loss.weight_decay * u @ u

    point = torch.tensor(w, dtype=torch.float64)
    return torch.autograd.functional.hessian(value, point).numpy()


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("chunk", [None, 7])
def test_routes_agree_with_the_compiled_network_to_rounding(objective, chunk, seed) -> None:
    x, y = data(seed)
    goal = y if objective == "cross_entropy" else np.random.default_rng(seed).normal(size=(30, 3))
    function = F.cross_entropy if objective == "cross_entropy" else half_square
    net = Network(inputs=x, targets=goal, hidden=(5,), objective=objective, weight_decay=0.03)
    loss = TorchLoss(mlp(), function, x, goal, weight_decay=0.03, chunk=chunk, **DOUBLE)
    w, order = loss.initial_parameters, order_of(loss)
    u = w[order]
    v = np.random.default_rng(seed + 1).normal(size=(loss.parameters, 6))
    near = {"rtol": 1e-12, "atol": 1e-13}
    assert loss.route == "torch.func"
    assert loss.loss(w) == pytest.approx(net.loss(u), rel=1e-14)
    np.testing.assert_allclose(loss.gradient(w)[order], net.gradient(u), **near)
    rows = loss.per_example_gradients(w)
    np.testing.assert_allclose(rows[:, order], net.per_example_gradients(u), **near)
    products = loss.hessian_vector_product(w, v)
    np.testing.assert_allclose(products[order], net.hessian_vector_product(u, v[order]), **near)
    one = loss.hessian_vector_product(w, v[:, 2])
    np.testing.assert_allclose(one, products[:, 2], **near)
    H = loss.hessian(w)
    np.testing.assert_allclose(H[np.ix_(order, order)], net.hessian(u), **near)
    np.testing.assert_array_equal(H, H.T)
    np.testing.assert_allclose(loss.outputs(w), net.outputs(u), **near)
    chosen = [3, 17, 4]
    np.testing.assert_allclose(loss.per_example_gradients(w, chosen), rows[chosen], **near)
    np.testing.assert_allclose(
        net.per_example_gradients(u, chosen), net.per_example_gradients(u)[chosen], **near
    )


@pytest.mark.twin
def test_twin_the_second_moment_of_gradients_is_not_their_covariance(seed) -> None:
    x, y = data(seed)
    loss = TorchLoss(mlp(), F.cross_entropy, x, y, **DOUBLE)
    net = Network(inputs=x, targets=y, hidden=(5,))
    w, order = loss.initial_parameters, order_of(loss)
    C = gradient_noise(loss, w).matrix[np.ix_(order, order)]
    np.testing.assert_allclose(C, net.gradient_noise(w[order]), rtol=1e-11, atol=1e-14)
    rows = loss.per_example_gradients(w)[:, order]
    G = loss.gradient(w)
    assert G @ G > 0.01
    assert np.trace(rows.T @ rows / 30) - np.trace(C) == pytest.approx(G @ G, rel=1e-9)


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GELU(), nn.MaxPool2d(2), nn.Flatten()
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))


class Tied(nn.Module):
    """Encoder and decoder are one matrix, and a layer is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.frozen = nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.frozen.requires_grad_(False)

    def forward(self, x):
        return self.two(torch.tanh(self.frozen(torch.tanh(self.one(x)))))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.line = nn.Embedding(5, 3), nn.Linear(4, 3)

    def forward(self, x, word):
        return self.line(x) * self.table(word)


@pytest.mark.parametrize("kind", ["convolutional", "tied", "two inputs"])
def test_routes_agree_with_dense_autograd(kind, seed) -> None:
    rng = np.random.default_rng(seed)
    x, y = data(seed, classes=3)
    if kind == "convolutional":
        x = rng.normal(size=(30, 1, 6, 6))
        model = Convolutional()
        model(torch.randn(50, 1, 6, 6))  # statistics that are not the initial ones
    elif kind == "tied":
        model = Tied()
    else:
        model, x = TwoInputs(), (x, rng.integers(5, size=30))
    loss = TorchLoss(model.eval(), F.cross_entropy, x, y, weight_decay=0.1, chunk=11, **DOUBLE)
    w = loss.initial_parameters
    trained = [p for p in model.parameters() if p.requires_grad]
    np.testing.assert_allclose(w, nn.utils.parameters_to_vector(trained).detach(), rtol=1e-7)
    assert loss.route == "torch.func"
    np.testing.assert_allclose(loss.hessian(w), dense_hessian(loss, w), rtol=1e-9, atol=1e-12)
    found = check_loss(loss, w)
    assert max(found.asymmetry, found.linearity, found.mean) < 1e-12


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(5, 4), nn.Linear(4, 3)
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)

    def forward(self, x):
        return self.out(self.layer(self.table(x))[:, -1])


class Memory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


@pytest.mark.parametrize("kind", ["attention", "recurrent"])
def test_routes_agree_with_differences_of_the_gradient(kind, seed) -> None:
    # Fused attention has no second derivative, and a compiled cell no tangent.
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=8)
    if kind == "attention":
        loss = TorchLoss(Words().eval(), F.cross_entropy, rng.integers(5, size=(8, 4)), y, **DOUBLE)
    else:
        loss = TorchLoss(Memory(), F.cross_entropy, rng.normal(size=(8, 4, 2)), y, **DOUBLE)
    assert loss.route == ("torch.func" if kind == "attention" else "autograd")
    w, step = loss.initial_parameters, 1e-5
    V = rng.normal(size=(loss.parameters, 4))
    V /= np.linalg.norm(V, axis=0)
    slopes = [(loss.gradient(w + step * v) - loss.gradient(w - step * v)) / (2 * step) for v in V.T]
    found = loss.hessian_vector_product(w, V)
    assert np.abs(found - np.transpose(slopes)).max() < 1e-7 * np.abs(found).max() + 1e-9
    rows = loss.per_example_gradients(w)
    np.testing.assert_allclose(rows.mean(axis=0), loss.gradient(w), atol=1e-13)


class Doubling(torch.autograd.Function):
    """x to x^2 with a backward that can be differentiated but not mapped."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 2 * x * slope


class Once(Doubling):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 2 * x * slope


class Squares(nn.Module):
    def __init__(self, square) -> None:
        super().__init__()
        self.first, self.last, self.square = nn.Linear(4, 5), nn.Linear(5, 3), square

    def forward(self, x):
        return self.last(self.square(self.first(x)))


def test_routes_agree_where_transforms_do_not_know_an_operation(seed) -> None:
    x, y = data(seed)
    known = Squares(torch.square)
    unknown = Squares(Doubling.apply)
    unknown.load_state_dict(known.state_dict())
    options = {"weight_decay": 0.1, "chunk": 13, **DOUBLE}
    fast = TorchLoss(known, F.cross_entropy, x, y, **options)
    plain = TorchLoss(unknown, F.cross_entropy, x, y, **options)
    assert (fast.route, plain.route) == ("torch.func", "autograd")
    w = fast.initial_parameters
    v = np.random.default_rng(seed).normal(size=(loss_size := fast.parameters, 3))
    near = {"rtol": 1e-11, "atol": 1e-13}
    assert loss_size == plain.parameters
    for name in ("per_example_gradients", "gradient", "hessian"):
        np.testing.assert_allclose(getattr(plain, name)(w), getattr(fast, name)(w), **near)
    for name in ("hessian_vector_product", "gauss_newton_product"):
        np.testing.assert_allclose(getattr(plain, name)(w, v), getattr(fast, name)(w, v), **near)
    with torch.no_grad():
        np.testing.assert_allclose(plain.hessian(w), fast.hessian(w), **near)


def test_refuses_curvature_of_what_is_differentiated_once(seed) -> None:
    x, y = data(seed)
    loss = TorchLoss(Squares(Once.apply), F.cross_entropy, x, y, **DOUBLE)
    w = loss.initial_parameters
    assert np.isfinite(loss.gradient(w)).all()
    with pytest.raises(UnsupportedError, match="differentiable backward"):
        loss.hessian(w)


def test_exact_gauss_newton_is_the_hessian_of_a_linear_model_and_not_of_another(seed) -> None:
    x, y = data(seed)
    line = TorchLoss(nn.Linear(4, 3), F.cross_entropy, x, y, weight_decay=0.1, **DOUBLE)
    w, eye = line.initial_parameters, np.eye(15)
    G = line.gauss_newton_product(w, eye)
    np.testing.assert_allclose(G, line.hessian(w), rtol=1e-11, atol=1e-13)
    deep = TorchLoss(mlp(), F.cross_entropy, x, y, **DOUBLE)
    u = deep.initial_parameters
    G = deep.gauss_newton_product(u, np.eye(deep.parameters))
    assert np.linalg.eigvalsh(G)[0] > -1e-12
    assert np.abs(G - deep.hessian(u)).max() > 1e-3
    # J^T H J from its definition.
    flat, inputs = deep._flat, deep._inputs
    J = torch.func.jacrev(lambda p: flat.outputs(p, inputs))(torch.tensor(u)).numpy()
    p = np.exp(deep.outputs(u))
    p /= p.sum(axis=1, keepdims=True)
    inner = np.einsum("nk,kl->nkl", p, np.eye(3)) - np.einsum("nk,nl->nkl", p, p)
    whole = np.einsum("nkp,nkl,nlq->pq", J, inner, J) / 30
    np.testing.assert_allclose(G, whole, rtol=1e-10, atol=1e-13)


def test_keeps_the_model_as_it_was(seed) -> None:
    x, y = data(seed)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    model(torch.randn(20, 4))
    model.eval()
    model[0].train()  # harmless, and still none of our business
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    loss = TorchLoss(model, nn.CrossEntropyLoss(), x.astype(np.float32), y, **DOUBLE)
    w = loss.initial_parameters + 0.1
    loss.hessian(w), loss.per_example_gradients(w), loss.gradient(w), loss.outputs(w)
    assert [m.training for m in model.modules()] == modes
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    # And the other way round: training goes on without the loss.
    value = loss.loss(w)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    assert loss.loss(w) == value
    given = np.array(w)
    loss.gradient(given)
    np.testing.assert_array_equal(given, w)


def test_limit_of_single_precision_is_its_rounding(seed) -> None:
    x, y = data(seed)
    model = mlp()
    single = TorchLoss(model, F.cross_entropy, torch.tensor(x, dtype=torch.float32), y)
    double = TorchLoss(model, F.cross_entropy, x, y, **DOUBLE)
    w = double.initial_parameters
    assert single.hessian(w).dtype == np.float64
    np.testing.assert_allclose(single.hessian(w), double.hessian(w), rtol=1e-4, atol=1e-6)
    assert np.abs(single.hessian(w) - double.hessian(w)).max() > 1e-12
    check_loss(single, w)


def test_serves_every_estimator_and_the_training_of_networks(seed) -> None:
    x, y = data(seed, rows=60)
    loss = TorchLoss(mlp(), F.cross_entropy, x, y, weight_decay=0.05, **DOUBLE)
    assert isinstance(loss, DifferentiableLoss)
    found = train_to_minimum(loss, loss.initial_parameters)
    net = Network(inputs=x, targets=y, hidden=(5,), weight_decay=0.05)
    w, order = found.parameters, order_of(loss)
    assert np.linalg.norm(net.gradient(w[order])) < 1e-9
    ours, theirs = curvature(loss, w), curvature(net, w[order])
    np.testing.assert_allclose(ours.eigenvalues, theirs.eigenvalues, rtol=1e-9, atol=1e-12)
    start = loss.initial_parameters
    here, there = gradient_noise_scale(loss, start), gradient_noise_scale(net, start[order])
    assert here.value == pytest.approx(there.value, rel=1e-10)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, x):
        return F.dropout(self.line(x), 0.5, training=True)


class Centred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, x):
        return self.line(x - x.mean(dim=0))


def named(*layers):
    return nn.Sequential(nn.Linear(4, 3), *layers)


@pytest.mark.parametrize(
    ("model", "function", "match"),
    [
        (named(nn.Dropout(0.1)), F.cross_entropy, r"module '1' \(Dropout\).*at random.*eval"),
        (named(nn.BatchNorm1d(3)), F.cross_entropy, r"'1' \(BatchNorm1d\).*statistics.*eval"),
        (
            named(nn.BatchNorm1d(3, track_running_stats=False)).eval(),
            F.cross_entropy,
            "track_running_stats=True",
        ),
        (Noisy().eval(), F.cross_entropy, "different losses"),
        (Centred(), F.cross_entropy, "act on one another"),
        (named(), nn.CrossEntropyLoss(reduction="sum"), "sum over examples"),
        (named(), nn.CrossEntropyLoss(reduction="none"), "one number.*mean"),
        (named(), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 9.0])), "class weights"),
        (named().requires_grad_(False), F.cross_entropy, "no parameters"),
        ("model", F.cross_entropy, "torch.nn.Module"),
        (named(), None, "function"),
    ],
)
def test_refuses_what_is_no_mean_over_examples(model, function, match) -> None:
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    with pytest.raises(InputError, match=match):
        TorchLoss(model, function, x, y)


def test_refuses_a_sum_even_where_every_loss_vanishes() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    with pytest.raises(InputError, match="sum over examples"):
        TorchLoss(model, nn.MSELoss(reduction="sum"), torch.randn(5, 2), torch.zeros(5, 1))


def test_refuses_data_and_points_that_do_not_fit() -> None:
    x, y = torch.randn(6, 4), torch.zeros(6, dtype=torch.int64)
    with pytest.raises(ShapeError, match="as many rows"):
        TorchLoss(nn.Linear(4, 3), F.cross_entropy, x, y[:5])
    with pytest.raises(ShapeError, match="single number"):
        TorchLoss(nn.Linear(4, 3), F.cross_entropy, x, 1)
    with pytest.raises(InputError, match="finite"):
        TorchLoss(nn.Linear(4, 3), F.cross_entropy, x * torch.inf, y)
    with pytest.raises(InputError, match="floating"):
        TorchLoss(nn.Linear(4, 3), F.cross_entropy, x, y, dtype=torch.int64)
    with pytest.raises(OutOfRangeError, match="chunk"):
        TorchLoss(nn.Linear(4, 3), F.cross_entropy, x, y, chunk=0)
    with pytest.raises(InputError, match="does not run on these data"):
        TorchLoss(nn.Linear(5, 3), F.cross_entropy, x, y)
    broken = nn.Linear(4, 3)
    nn.init.constant_(broken.bias, torch.nan)
    with pytest.raises(InputError, match="'bias' holds NaN"):
        TorchLoss(broken, F.cross_entropy, x, y)
    with pytest.raises(UnsupportedError, match="not initialised"):
        TorchLoss(nn.LazyLinear(3), F.cross_entropy, x, y)
    loss = TorchLoss(nn.Linear(4, 3), F.cross_entropy, x, y)
    with pytest.raises(ShapeError, match="one flat vector"):
        loss.gradient(np.zeros(14))
    with pytest.raises(NotFiniteError):
        loss.gradient(np.full(15, np.nan))
    with pytest.raises(ShapeError, match="15 rows"):
        loss.hessian_vector_product(np.zeros(15), np.zeros(4))
    with pytest.raises(OutOfRangeError, match="between 0 and 5"):
        loss.per_example_gradients(np.zeros(15), [6])


def test_the_howto_runs_as_shown(seed) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "howto" / "curvature-and-noise.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    x, y = data(seed, rows=600)
    names = {"model": mlp(), "inputs": torch.tensor(x), "labels": torch.tensor(y)}
    assert len(blocks) == 9
    for block in blocks[:-3]:  # the last three read runs
        if "SGDNearMinimum" in block:  # this is no minimum: take a matrix without negative modes
            curved = curvature(names["loss"], names["w"], gauss_newton=True)
            names["curvature"] = curved
        exec(compile(block, page.name, "exec"), names)
    assert names["noise"].sampling.startswith("exact")
    assert names["few"].matrix.shape == (5, 5)
    assert names["scale"].resolved


def autocasting():
    return torch.autocast("cpu", dtype=torch.bfloat16)


class Rounding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x):
        with autocasting():
            return self.body(x).float()


def test_limit_half_precision_is_computed_in_single_and_autocast_is_off(seed) -> None:
    x, y = data(seed)
    half = mlp().bfloat16()
    single = TorchLoss(copy.deepcopy(half).float(), F.cross_entropy, x, y)
    loss = TorchLoss(half, F.cross_entropy, x, y)
    w, V = loss.initial_parameters, np.eye(loss.parameters)[:, :3]
    np.testing.assert_array_equal(w, single.initial_parameters)
    assert half[0].weight.dtype is torch.bfloat16
    with autocasting():
        np.testing.assert_array_equal(loss.gradient(w), single.gradient(w))
        near = {"rtol": 1e-5, "atol": 1e-7}
        found = loss.hessian_vector_product(w, V)
        rounded = half.float()(torch.tensor(x, dtype=torch.float32))
    np.testing.assert_allclose(found, single.hessian_vector_product(w, V), **near)
    assert rounded.dtype is torch.bfloat16, "autocast was never on"


def test_refuses_rounding_to_half_precision(seed) -> None:
    x, y = data(seed)
    with pytest.raises(UnsupportedError, match="around the call of the model"):
        TorchLoss(Rounding(), F.cross_entropy, torch.tensor(x).float(), y)
    with pytest.raises(InputError, match="rounding hides"):
        TorchLoss(mlp(), F.cross_entropy, x, y, dtype=torch.bfloat16)
    with pytest.raises(UnsupportedError, match="meta"):
        TorchLoss(mlp().to("meta"), F.cross_entropy, x, y)
