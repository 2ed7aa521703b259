from .loop import run_episodes as run_episodes
from .plan import EpisodeSpec as EpisodeSpec
