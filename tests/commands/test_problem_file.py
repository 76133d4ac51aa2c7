"""Problem files: what they say is what the API would be told, and everything else is refused."""

import numpy as np
import pytest

pytest.importorskip("typer")

import fracsde as fs
from fracsde._commands.problem_file import read_job
from fracsde._commands.solving import EXAMPLE
from fracsde.errors import InputError

PLANE = """
[problem]
potential = "k * (x**2 + x*y + y**2) / 2"
parameters = { k = 2.0 }
force = ["-y", "x"]
diffusion = [[1.0, 0.2], [0.2, 0.5]]
domain = [[-5.0, 5.0], [-4.0, 4.0]]
boundary = [["reflecting", "absorbing"], ["absorbing", "reflecting"]]

[start]
gaussian = { mean = [1.0, 0.0], std = 0.5 }

[times]
uniform = { end = 1.0, steps = 4 }

[method]
scheme = "L1"
space = { name = "FiniteVolume", cells = 24 }
"""

MARCHED = """
[problem]
diffusion = "1 + t * x**2 / 4"
force = "-x * cos(t)"
source = "exp(-t) * cos(pi * x) + 1"
reaction = "x**2"
domain = [-1.0, 1.0]
boundary = ["reflecting", "absorbing"]
time_dependent = true

[start]
density = "1 + cos(pi * x)"

[clock]
alpha = 0.5
timescale = 2.0

[times]
graded = { end = 2.0, steps = 40, exponent = 3.0 }

[method]
scheme = { name = "L1", history = { name = "Exponentials", rtol = 1e-6 } }
space = "auto"
"""

SYSTEM = """
[system]
unknowns = ["u", "v"]
rhs = ["a - (mu + 1) * u + u**2 * v", "mu * u - u**2 * v + t"]
parameters = { a = 1.0, mu = 4.0 }
initial = [1.2, 2.8]
alpha = [0.8, 0.7]

[times]
at = [1.0, 2.0]

[method]
scheme = { name = "Adaptive", rtol = 1e-5 }
"""


def job_of(text, tmp_path):
    path = tmp_path / "problem.toml"
    path.write_text(text, encoding="utf-8")
    return read_job(path)


def test_example_says_what_the_api_would_be_told(tmp_path):
    job = job_of(EXAMPLE, tmp_path)
    base = job.problem.base
    x = np.linspace(-2.0, 2.0, 9)
    assert np.allclose(base.potential_at(x), (x**2 - 1) ** 2 / 4, rtol=1e-14, atol=0)
    assert base.domain == (-np.inf, np.inf)
    assert (base.diffusion, base.initial) == (0.1, fs.Gaussian(mean=1.0, std=0.1))
    assert (job.problem.alpha, job.times.tolist()) == (0.6, [0.1, 1.0, 10.0, 100.0])
    assert job.scheme == fs.Propagator(rtol=1e-8)
    assert job.space == fs.FiniteVolume(cells=512)


@pytest.mark.twin
def test_another_parameter_is_another_potential(tmp_path):
    job = job_of(EXAMPLE.replace("a = 4.0", "a = 5.0"), tmp_path)
    assert not np.allclose(job.problem.base.potential_at(np.zeros(1)), 0.25)


def test_plane_with_tensor_walls_and_stirring(tmp_path):
    job = job_of(PLANE, tmp_path)
    x, y = np.array([0.5]), np.array([-0.25])
    assert np.allclose(job.problem.potential(x, y), 0.25 - 0.125 + 0.0625)
    assert np.allclose(job.problem.force(x, y), [[0.25], [0.5]])
    assert np.array_equal(job.problem.diffusion, [[1.0, 0.2], [0.2, 0.5]])
    assert job.problem.walls == (("reflecting", "absorbing"), ("absorbing", "reflecting"))
    assert np.array_equal(job.times.times, np.linspace(0.0, 1.0, 5))
    assert job.scheme == fs.L1()


def test_coefficients_that_depend_on_time(tmp_path):
    job = job_of(MARCHED, tmp_path)
    base = job.problem.base
    x = np.array([0.5])
    assert np.allclose(base.force(2.0, x), -0.5 * np.cos(2.0))
    assert np.allclose(base.diffusion(2.0, x), 1.125)
    assert np.allclose(base.source_at(1.0, x), np.exp(-1.0) * np.cos(np.pi / 2) + 1)
    assert np.allclose(base.reaction_at(x), 0.25)
    assert job.problem.timescale == 2.0
    assert job.times.grading == 3.0
    assert job.scheme == fs.L1(history=fs.Exponentials(rtol=1e-6))
    assert job.space == "auto"


def test_system_has_the_exact_jacobian(tmp_path):
    job = job_of(SYSTEM, tmp_path)
    t, (u, v) = 0.5, (1.5, 2.5)
    y = np.array([u, v])
    assert np.allclose(job.problem.value(t, y), [1 - 5 * u + u * u * v, 4 * u - u * u * v + t])
    exact = [[2 * u * v - 5, u * u], [4 - 2 * u * v, -u * u]]
    assert np.allclose(job.problem.jacobian_at(t, y), exact, rtol=1e-14)
    assert job.problem.alpha.tolist() == [0.8, 0.7]
    assert job.scheme == fs.Adaptive(rtol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('unknowns = ["u", "v"]', 'unknowns = ["u"]', "one `rhs` per unknown"),
        ('unknowns = ["u", "v"]', 'unknowns = ["t", "v"]', "time"),
        ("initial = [1.2, 2.8]", "initial = [1.2]", "one `initial` value per unknown"),
        ('unknowns = ["u", "v"]', 'unknowns = ["u", ["v"]]', "names"),
        (
            'unknowns = ["u", "v"]\nrhs = [',
            'unknowns = ["u", "v", "a1", "a2", "a3", "a4", "a5", "a6"]\n'
            'rhs = ["u", "u", "u", "u", "u", "u", ',
            "one to 7 names, got 8.*FractionalODE",
        ),
        ("mu * u - u", "mu * w - u", "w"),
        ('"Adaptive"', '"Propagator"', "has no 'Propagator'"),
        ("[method]", "[start]", "has no key 'start'"),
    ],
)
def test_refuses_what_a_system_cannot_mean(tmp_path, old, new, hint):
    assert old in SYSTEM
    with pytest.raises(InputError, match=hint):
        job_of(SYSTEM.replace(old, new), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("[method]", "[methods]", "did you mean 'method'"),
        ("diffusion = 0.1", "diffusions = 0.1", "did you mean 'diffusion'"),
        ("diffusion = 0.1", "", "needs `diffusion`"),
        ("diffusion = 0.1", "diffusion = -0.1", "diffusion"),
        ("diffusion = 0.1", "diffusion = true", "expression"),
        ("[start]", "[clock_]", "did you mean 'clock'"),
        ("gaussian = {", "gaussians = {", "did you mean 'gaussian'"),
        ('name = "Propagator"', 'name = "Propagater"', "did you mean 'Propagator'"),
        ('name = "Propagator"', 'name = "EulerMaruyama"', "has no 'EulerMaruyama'"),
        ("rtol = 1e-8", "rtoll = 1e-8", "did you mean 'rtol'"),
        ("cells = 512", "cells = 1", "cells"),
        ("alpha = 0.6", "alpha = 1.6", "alpha"),
        ("at = [", "at = [-1.0, ", "times"),
        ("at = [0.1, 1.0, 10.0, 100.0]", "uniform = { end = 1.0 }", "needs `steps`"),
        ("(x**2 - 1)**2 / a", "(x**2 - 1)**2 / b", "b"),
        ("(x**2 - 1)**2 / a", "__import__('os').system('true')", "expression"),
        ("(x**2 - 1)**2 / a", "x.__class__", "expression"),
        ("[-inf, inf]", "7", "domain"),
        ("[problem]", "[problem", "not TOML"),
        ("at = [0.1, 1.0, 10.0, 100.0]", "at = [[0.1, 1.0], [2.0]]", "real numbers"),
        ("at = [0.1, 1.0, 10.0, 100.0]", "at = [1979-05-27]", "real numbers"),
        ("at = [0.1, 1.0, 10.0, 100.0]", f"uniform = {{ end = 1, steps = {10**18} }}", "at most"),
        ("cells = 512", f"cells = {10**18}", "at most"),
        ("alpha = 0.6", "alpha = 0x" + "f" * 5000, "64 bits"),
        ("alpha = 0.6", "alpha = " + "9" * 5000, "not TOML"),
        ("alpha = 0.6", "alpha = " + "[" * 9000 + "]" * 9000, "nested"),
        ("diffusion = 0.1", "diffusion = [[1.0], [1.0, 2.0]]", "diffusion.*matrix of numbers"),
        ("diffusion = 0.1", 'diffusion = [["x", 1], [1, "x"]]', "diffusion.*matrix of numbers"),
        ("diffusion = 0.1", "diffusion = [{}]", "diffusion.*matrix of numbers"),
        ("diffusion = 0.1", 'diffusion = 1\nvariables = [["x"]]', "names"),
        ("{ a = 4.0 }", "{ a = 4.0, lambda = 1.0 }", "word of Python"),
        ("[-inf, inf]", "[[0, 1], [0, 1], [0, 1], [0, 1]]", "up to 3"),
    ],
)
def test_refuses_what_the_file_cannot_mean(tmp_path, old, new, hint):
    assert old in EXAMPLE
    with pytest.raises(InputError, match=hint):
        fs.solve(*_arguments(job_of(EXAMPLE.replace(old, new), tmp_path)))


def _arguments(job):
    return job.problem, job.times


def test_reads_a_file_with_a_byte_order_mark(tmp_path):
    assert job_of("\ufeff" + EXAMPLE, tmp_path).times.tolist() == [0.1, 1.0, 10.0, 100.0]


def test_does_not_read_a_file_without_end(tmp_path):
    (tmp_path / "long.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="longer than"):
        read_job(tmp_path / "long.toml")


def test_refuses_a_missing_and_a_foreign_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_job(tmp_path / "none.toml")
    (tmp_path / "noise.toml").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="not TOML"):
        read_job(tmp_path / "noise.toml")
