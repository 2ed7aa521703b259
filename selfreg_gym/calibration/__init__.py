"""``calibrate``: move a helper's one knob until fresh rollouts use what the budget allows.

A helper's usage on fresh episodes differs from the planned one (unseen states, new samples of the actor, a trained
policy that asks too rarely), so a comparison at a budget C starts by making every helper spend C. Usage has one
degree of freedom per helper, so rollouts of *training* tasks are enough; test tasks are never touched.

The usage U(x) of a knob x is a non-decreasing step function, measured with noise. All probes play the same episodes
(common random numbers), so that U(x) - U(x') has little noise of its own, and probes of several budgets share their
results. The root of U(x) = C is bracketed and found by regula falsi with bisection as a safeguard (Press et al.,
Numerical Recipes, section 9.2). A probe far from C ends early; the accepted one plays on until the 95 % half-width of
its usage is at most 5 % of C, and its larger sample corrects the others (:mod:`selfreg_gym.calibration.probes`). Where
U jumps over C, as it does when many states share one score, the two sides of the jump are mixed, one coin per episode,
which meets C exactly.
"""

from __future__ import annotations

from selfreg_gym.calibration.calibrating import calibrate, calibrate_many
from selfreg_gym.calibration.mixture import CoinMixture, apply_calibration, load_calibrations

__all__ = ["CoinMixture", "apply_calibration", "calibrate", "calibrate_many", "load_calibrations"]
