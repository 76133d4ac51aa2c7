"""Recording and measuring on a device that the host cannot read: the same, many at a time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fracsde as fs

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
# What is added up in another order on the device.
SUMMED = {"gradient_norm_squared", "weight_dot_gradient", "weight_norm_squared"} | {
    "velocity_norm_squared"
}


def child(device, folder):
    folder.mkdir()
    found = subprocess.run(
        [sys.executable, "-m", "tests.recording.device_child", device, str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return json.loads(found.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device") / "cpu"
    return folder, child("cpu", folder)


def differing(one, other):
    """Return the streams that differ: exactly, or by rounding where numbers are added up."""
    found = []
    assert list(one.steps(0)) == list(other.steps(0))
    for name in one.streams:
        a, b = (np.array(run.array(name, 0), dtype=np.float64) for run in (one, other))
        summed = name in SUMMED or (name in {"weights", "gradients"} and a.shape[1] in (4, 8))
        allowed = 2e-6 * np.nanmax(np.abs(a), initial=1e-30) if summed else 0.0
        if not np.allclose(a, b, rtol=0.0, atol=allowed, equal_nan=True):
            found.append(name)
    return found


def elsewhere(device, here, tmp_path):
    folder = tmp_path / device
    said = child(device, folder)
    for way in said["moved"]:
        one, other = fs.open_run(here[0] / way), fs.open_run(folder / way)
        assert differing(one, other) == [], way
        assert other.metadata["training"] == one.metadata["training"]
    assert said["went on"], "a model elsewhere than its record goes on"
    assert said["findings"] == here[1]["findings"]
    assert apart(here[0], folder) == []
    return folder, said


def apart(one, other, *, damage=1.0):
    """Return what was measured otherwise on one device than on the other, to single precision."""
    found = []
    with np.load(one / "measured.npz") as a, np.load(other / "measured.npz") as b:
        assert a.files == b.files
        for name in a.files:
            x, y = a[name].astype(np.float64), damage * b[name].astype(np.float64)
            if not np.allclose(x, y, rtol=0.0, atol=2e-6 * np.abs(x).max(initial=1e-30)):
                found.append(name)
    return found


def test_rows_and_curvature_of_another_device_are_those_of_the_host_in_few_transfers(
    here, tmp_path
):
    """A device written in Python, with an address of nothing: whoever reads it directly, falls."""
    folder, said = elsewhere("far", here, tmp_path)
    # Which of its steps are skipped only the device knows.
    waits = dict.fromkeys(said["moved"], 0) | {"scaled": 40}
    assert said["moved"] == waits, "steps wait for the device"
    assert fs.open_run(folder / "scaled").trajectory().draws == 40, "no step was skipped"
    assert 0 < said["total"] < 200, "rows are not fetched together"
    one, other = (fs.open_run(folder / way) for way in ("projections", "dense"))
    assert "weights" in differing(one, other), "the comparison sees no difference"
    assert len(apart(here[0], folder, damage=1.0001)) > 90, "the comparison sees no difference"
    # Four passes over the data in each; a model in two places moves numbers itself.
    asked = {name: n for name, n in said["asked"].items() if not name.startswith("in two places")}
    assert max(asked.values()) == 1, "passes wait for the device"
    assert said["asked"]["in two places: loss"] > 1, "the count sees no transfer"


@pytest.mark.twin
def test_twin_careless_code_falls_on_the_device(tmp_path):
    assert child("refusals", tmp_path / "refusals") == {"kept": []}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rows_curvature_and_noise_of_a_gpu_are_those_of_the_host(here, tmp_path):
    elsewhere("cuda", here, tmp_path)
