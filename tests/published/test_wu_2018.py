"""Wu, Ma and E 2018: a condition for the stability of SGD at a global minimum."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.problems.least_squares import GaussianLeastSquaresSGD, LeastSquaresSGD


def published(sgd: LeastSquaresSGD) -> float:
    """The rate at which ``(I - eta H)^2 + eta^2 (N - B)/(B (N - 1)) (mean H_n^2 - H^2)`` is 1."""
    noise = sgd.second_moments.share * sgd.about_minimum.noise.spread(np.eye(sgd.dimension))
    H = sgd.curvature
    # 2 eta v H v = eta^2 v (H^2 + noise) v at the most sensitive v.
    L = np.linalg.cholesky(H)
    inner = np.linalg.solve(L, np.linalg.solve(L, H @ H + noise).T)
    return 2.0 / float(np.linalg.eigvalsh(inner)[-1])


@pytest.mark.parametrize("batch", [1, 4])
def test_their_condition_is_exact_for_isotropic_gaussian_inputs(batch: int) -> None:
    sgd = GaussianLeastSquaresSGD(
        covariance=np.eye(5), label_noise=0.0, learning_rate=0.1, batch_size=batch
    )
    assert published(sgd) == pytest.approx(sgd.critical_learning_rate(), rel=1e-13)


def test_their_condition_suffices_but_is_not_needed() -> None:
    # Inputs of unequal scale: the length of w may grow in one step while its moments settle.
    scales = np.array([1.0, 0.1])
    sgd = GaussianLeastSquaresSGD(
        covariance=np.diag(scales), label_noise=0.0, learning_rate=0.1, batch_size=1
    )
    ratio = published(sgd) / sgd.critical_learning_rate()
    # Theirs is 2 / 3.1; the second moment ends where sum a / (2 / eta - 2 a) = 1.
    assert ratio == pytest.approx(2 / 3.1 * (3.3 + np.sqrt(7.69)) / 4, rel=1e-13)
    rng = np.random.default_rng(2018)
    ratios = []
    for _ in range(20):
        X = rng.normal(size=(12, 4)) * np.geomspace(1.0, 0.1, 4)
        y = X @ np.ones(4)
        finite = LeastSquaresSGD(inputs=X, targets=y, learning_rate=0.1, batch_size=2)
        ratios.append(published(finite) / finite.critical_learning_rate())
    assert max(ratios) <= 1.0
    assert min(ratios) == pytest.approx(0.808, abs=1e-3)
