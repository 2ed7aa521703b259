"""The whole method as one resumable run: what it is to do, its stages, and the directory it leaves behind."""

from selfreg_gym.pipeline.running import STAGES, advance, open_run, run, stages_until

__all__ = ["STAGES", "advance", "open_run", "run", "stages_until"]
