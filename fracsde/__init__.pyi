"""What type checkers see of the façade; ``tests/test_facade.py`` holds it to the real one."""

from fracsde import errors as errors
from fracsde import estimators as estimators
from fracsde import networks as networks
from fracsde import special as special
from fracsde.citations import cite as cite
from fracsde.compare import Report as Report
from fracsde.compare import Verdict as Verdict
from fracsde.compare import compare as compare
from fracsde.grids import SpaceGrid as SpaceGrid
from fracsde.grids import TimeGrid as TimeGrid
from fracsde.operators.finite_volume import FiniteVolume as FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck as FokkerPlanck
from fracsde.problems.fokker_planck import Gaussian as Gaussian
from fracsde.problems.fokker_planck import PointMass as PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck as FractionalFokkerPlanck
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion as LinearRecursion
from fracsde.problems.ornstein_uhlenbeck import OUProcess as OUProcess
from fracsde.problems.sgd import SGDNearMinimum as SGDNearMinimum
from fracsde.records.measurement import Measurement as Measurement
from fracsde.records.measurement import Prediction as Prediction
from fracsde.records.measurement import Quantity as Quantity
from fracsde.records.trajectory import Trajectory as Trajectory
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov as GrunwaldLetnikov
from fracsde.schemes.history import Direct as Direct
from fracsde.schemes.l1 import L1 as L1
from fracsde.schemes.paths import EulerMaruyama as EulerMaruyama
from fracsde.schemes.paths import ExactOU as ExactOU
from fracsde.schemes.propagator import Propagator as Propagator
from fracsde.simulate import simulate as simulate
from fracsde.solution import Solution as Solution
from fracsde.solve import solve as solve
from fracsde.stationary import StationaryCovariance as StationaryCovariance
from fracsde.stationary import stationary_covariance as stationary_covariance
from fracsde.status import Status as Status
from fracsde.transients import autocovariance as autocovariance
from fracsde.transients import covariance_at as covariance_at
from fracsde.transients import mean_at as mean_at
from fracsde.transients import mean_square_displacement as mean_square_displacement
from fracsde.transients import relaxation_rates as relaxation_rates

__version__: str
