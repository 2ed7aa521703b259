"""The whole method as one resumable run: its config, its stages and its directory."""

from selfreg_gym.pipeline.runner import STAGES, advance, open_run, run, stages_until

__all__ = ["STAGES", "advance", "open_run", "run", "stages_until"]
