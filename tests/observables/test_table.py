"""The table of which observable exists for which law, cell by cell as the documents print it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fracsde as fs
from fracsde import observables
from fracsde.errors import InputError
from fracsde.problems.least_squares import LeastSquaresSGD
from fracsde.problems.products import LowRankPlusDiagonal
from tests.support.linear_laws import NOISE, SETTINGS, SYMMETRIC, sgd

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "mathematics" / "_sgd" / "observables.md"
SHUFFLED = {"sampling": "shuffled", "dataset_size": 12, "batch_size": 3}


def data(**changed: object) -> LeastSquaresSGD:
    x = np.random.default_rng(5).normal(size=(12, 3))
    given = {"inputs": x, "targets": np.arange(12.0), "learning_rate": 0.05, "batch_size": 3}
    return LeastSquaresSGD(**{**given, **changed})


LAWS: dict[str, Any] = {
    "heavy ball": sgd(momentum=0.5, weight_decay=0.1),
    "Nesterov": sgd(**SETTINGS["nesterov"]),
    "preconditioner": sgd(**SETTINGS["full"]),
    "shuffled epochs": sgd(**SHUFFLED),
    "noise by state": data(momentum=0.5, nesterov=True),
    "its shuffled epochs": data(sampling="shuffled"),
    "Adam, RMSprop": fs.adaptive_near_minimum(
        "adam", hessian=SYMMETRIC, gradient_noise=NOISE, learning_rate=0.01, batch_size=2
    ),
    "matrix-free": fs.MatrixFreeSGD(
        hessian=SYMMETRIC, gradient_noise=NOISE, learning_rate=0.1, batch_size=2
    ),
}
INDEPENDENT = ("heavy ball", "Nesterov", "preconditioner")  # one column of the table
ASKED: dict[str, Callable[..., Any]] = {
    "stationary_covariance": fs.stationary_covariance,
    "phase_covariance": lambda law: fs.phase_covariance(law, [1]),
    "phase_autocovariance": lambda law: observables.phase_autocovariance(law, [1], [2]),
    "stationary_loss": observables.stationary_loss,
    "autocovariance": lambda law: fs.autocovariance(law, [0, 3]),
    "mean_square_displacement": lambda law: fs.mean_square_displacement(law, [3]),
    "power_spectrum": lambda law: observables.power_spectrum(law, [0.1]),
    "averaged_covariance": lambda law: observables.averaged_covariance(law, 10),
    "averaging_error": lambda law: observables.averaging_error(law, draws=10),
    "ergodicity_breaking": lambda law: observables.ergodicity_breaking(law, [1], 20),
    "effective_temperature": observables.effective_temperature,
    "gradient_noise_scale": observables.gradient_noise_scale,
    "fluctuation_dissipation": observables.fluctuation_dissipation,
    "phase_fluctuation_dissipation": lambda law: observables.phase_fluctuation_dissipation(
        law, [1]
    ),
    "relaxation_rates": fs.relaxation_rates,
    "mean_at": lambda law: fs.mean_at(law, [2], np.ones(3)),
    "covariance_at": lambda law: fs.covariance_at(law, [2]),
    "second_moment_radius": fs.second_moment_radius,
}
# What a refusal offers in place of what was asked, wherever there is something.
OFFERED = {
    ("its shuffled epochs", "phase_covariance"): "near_minimum|got LeastSquaresSGD",
    ("its shuffled epochs", "phase_autocovariance"): "near_minimum|got LeastSquaresSGD",
    ("its shuffled epochs", None): "near_minimum",
    (None, "phase_covariance"): r"stationary_covariance\(process\) has the one",
    (None, "phase_autocovariance"): r"stationary_covariance\(process\) has the one",
    ("Adam, RMSprop", "phase_fluctuation_dissipation"): "its `sgd`",
    ("matrix-free", "phase_fluctuation_dissipation"): "dense",
    ("noise by state", "phase_fluctuation_dissipation"): "near_minimum",
    (None, "phase_fluctuation_dissipation"): r"ask fluctuation_dissipation\(sgd\)",
    (None, "second_moment_radius"): "square of the transition's",
}


def cells() -> list[tuple[str, str, str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines[: lines.index("### Diagonals are simple")] if line[:1] == "|"]
    table = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    columns = [INDEPENDENT if name == "independent batches" else (name,) for name in table[0][1:]]
    return [
        (row[0].strip("`"), law, cell.strip("`"))
        for row in table[2:]
        for laws, cell in zip(columns, row[1:], strict=True)
        for law in laws
    ]


def test_table_has_every_law_and_every_observable_of_the_package() -> None:
    asked, laws, _ = zip(*cells(), strict=True)
    assert set(laws) == set(LAWS)
    assert set(asked) == set(ASKED)
    verbs = {name for name in observables.__all__ if name[0].islower()}
    assert verbs <= set(ASKED)


@pytest.mark.parametrize(("name", "law", "cell"), cells())
def test_cell_says_what_the_code_does(name: str, law: str, cell: str) -> None:
    ask, run = ASKED[name], LAWS[law]
    if cell == "yes":
        assert ask(run) is not None
        return
    with pytest.raises(InputError) as caught:
        ask(run)
    words = str(caught.value)
    if cell == "law.sgd":
        assert "its `sgd` is the run" in words
        assert ask(run.sgd) is not None
    elif cell == "dense()":
        assert "its dense() writes" in words
        assert ask(run.dense()) is not None
    elif cell == "frequency=":
        assert "`frequency` is needed" in words
        assert ask(run, frequency=0.1) is not None
    else:
        assert cell == "no"
        keys = ((law, name), (law, None), (None, name))
        offered = next(OFFERED[key] for key in keys if key in OFFERED)
        assert caught.match(offered)


def test_exact_gradient_of_a_matrix_free_run_follows_from_its_loss() -> None:
    factor = LowRankPlusDiagonal(factor=np.linalg.cholesky(NOISE))
    run = replace(LAWS["matrix-free"], gradient_noise=factor)
    loss = fs.stationary_trace(run, "curvature").value  # Tr K Sigma
    square = 2.0 / run.learning_rate * loss - np.trace(NOISE) / 2
    found = observables.gradient_noise_scale(run.dense())
    assert square == pytest.approx(found.gradient_square, rel=1e-9)


def test_refusal_of_decoupled_decay_with_momentum_offers_its_map() -> None:
    law = fs.adaptive_near_minimum(
        "adamw",
        hessian=SYMMETRIC,
        gradient_noise=NOISE,
        learning_rate=0.01,
        batch_size=2,
        weight_decay=0.1,
    )
    assert law.sgd is None
    for name in ("stationary_loss", "autocovariance", "effective_temperature"):
        with pytest.raises(InputError, match="its `process` is the map of its steps"):
            ASKED[name](law)
    found = observables.power_spectrum(law.process, [0.1])
    assert found.shape == (1, 3, 3)
