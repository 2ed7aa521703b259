"""``calibrate``: find the knob at which a helper's usage on new episodes meets a budget C.

The usage of a helper on new episodes differs from the planned one (unseen states, new samples of the actor, a trained
policy that asks too rarely). A comparison at a budget therefore begins with a calibration of every helper. It plays
*training* tasks only; the one free parameter does not need test tasks.

The usage U(x) at knob x is a non-decreasing step function, measured with noise. All probes play the same episodes
(common random numbers), which reduces the variance of U(x) - U(x'), and the budgets of a helper share its probes. The
root of U(x) = C is bracketed and found by regula falsi, with bisection as a safeguard (Press et al., Numerical Recipes,
section 9.2). A probe far from C ends early. The accepted knob plays more episodes until the 95 % half-width of its
usage is at most 5 % of C, and its larger sample corrects the others (:mod:`selfreg_gym.calibration.probes`). If U jumps
over C, because many states share a score, the result is a mixture of the two sides of the jump with one coin per
episode, which meets C exactly.
"""

from __future__ import annotations

from selfreg_gym.calibration.calibrating import calibrate, calibrate_many
from selfreg_gym.calibration.mixture import CoinMixture, apply_calibration, load_calibrations

__all__ = ["CoinMixture", "apply_calibration", "calibrate", "calibrate_many", "load_calibrations"]
