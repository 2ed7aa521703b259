"""The whole method as one resumable run: its config, its stages and its directory."""

from selfreg_gym.pipeline.choosing import choose_helper
from selfreg_gym.pipeline.runner import STAGES, advance, open_run, run, stages_until

__all__ = ["STAGES", "advance", "choose_helper", "open_run", "run", "stages_until"]
