"""The probe of a loss names each thing that may be wrong with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fracsde.errors import InputError, NotFiniteError, NotSymmetricError, ShapeError
from fracsde.estimators import DifferentiableLoss, check_loss
from fracsde.estimators.loss import gradient_blocks
from fracsde.networks import Network
from tests.support.quadratic_loss import with_eigenvalues


@dataclass
class Damaged:
    """A loss of which one method is another."""

    inner: Any
    method: str
    function: Any

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name == self.method:
            return lambda *args: self.function(found(*args), *args)
        return found


def sound():
    return with_eigenvalues([3.0, 1.0, -0.5, 0.2], 0, examples=9)


POINT = np.array([1.0, -2.0, 0.5, 3.0])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_networks_pass_as_they_are(activation, seed) -> None:
    rng = np.random.default_rng(seed)
    net = Network(
        inputs=rng.normal(size=(20, 3)),
        targets=np.arange(20) % 3,
        hidden=(4,),
        activation=activation,
        weight_decay=0.1,
    )
    assert isinstance(net, DifferentiableLoss)
    found = check_loss(net, net.initial_parameters(rng))
    assert max(found.asymmetry, found.linearity, found.mean) < 1e-13
    assert max(found.slope, found.products) < 1e-6


def test_a_quadratic_loss_passes_at_its_minimum() -> None:
    loss = sound()
    minimum = -np.linalg.solve(loss.H, loss.shifts.mean(axis=0))
    found = check_loss(loss, minimum)
    assert max(found.slope, found.products, found.mean) < 1e-6


def random(value, *_):
    return value + np.random.default_rng().normal()


def test_refuses_dropout() -> None:
    loss = Damaged(sound(), "loss_and_gradient", lambda out, w: (random(out[0]), out[1]))
    with pytest.raises(InputError, match=r"two evaluations.*dropout"):
        check_loss(loss, POINT)


def lopsided(out, _w, v):
    return out + 0.1 * (np.roll(v, 1, axis=0).T * np.array([1.0, 2.0, 3.0, 4.0])).T


def other_for_one(out, _w, v):
    return 1.01 * out if v.ndim == 1 else out


@pytest.mark.twin
@pytest.mark.parametrize(
    ("method", "function", "error", "match"),
    [
        ("per_example_gradients", lambda out, *_: out / 9, InputError, "their sum"),
        ("per_example_gradients", lambda out, *_: out + 0.3 * POINT, InputError, "-0.3 w"),
        ("per_example_gradients", lambda out, *_: out**2, InputError, "act on one another"),
        ("gradient", lambda out, w: out + 0.1 * w, InputError, r"agree with .loss_and_gradient"),
        ("hessian_vector_product", lopsided, NotSymmetricError, "symmetric"),
        ("hessian_vector_product", lambda out, w, v: 1.1 * out, InputError, "derivative"),
        ("hessian_vector_product", other_for_one, InputError, "linear"),
        ("hessian_vector_product", lambda out, w, v: out.ravel(), ShapeError, "float64 of shape"),
        ("per_example_gradients", lambda out, *_: out.astype(np.float32), ShapeError, "float32"),
        ("per_example_gradients", lambda out, *_: np.nan * out, NotFiniteError, "NaN"),
    ],
)
def test_twin_a_damaged_loss_is_named(method, function, error, match) -> None:
    check_loss(sound(), POINT)
    with pytest.raises(error, match=match):
        check_loss(Damaged(sound(), method, function), POINT)


@pytest.mark.twin
def test_twin_a_gradient_that_is_a_tenth_too_long() -> None:
    inner = sound()

    def longer(out, *_):
        return (out[0], 1.1 * out[1]) if isinstance(out, tuple) else 1.1 * out

    loss = Damaged(Damaged(inner, "gradient", longer), "loss_and_gradient", longer)
    with pytest.raises(InputError, match=r"gradient. must be that of .loss"):
        check_loss(loss, POINT)


def test_refuses_what_is_no_loss() -> None:
    with pytest.raises(InputError, match="lacks parameters, examples"):
        check_loss(object(), POINT)
    with pytest.raises(ShapeError, match="flat vector"):
        check_loss(sound(), POINT[:3])


def test_blocks_of_gradients_are_all_gradients(seed, monkeypatch) -> None:
    loss = with_eigenvalues([1.0, 2.0], seed, examples=23)
    w = np.ones(2)
    whole = loss.per_example_gradients(w)
    monkeypatch.setattr("fracsde.estimators.loss.HELD", 10)
    blocks = list(gradient_blocks(loss, w))
    assert [len(block) for block in blocks] == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    some = np.array([4, 9, 22])
    np.testing.assert_array_equal(next(gradient_blocks(loss, w, some)), whole[some])
