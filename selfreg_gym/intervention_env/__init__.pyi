from .env import InterventionEnv as InterventionEnv
from .vector_env import InterventionVectorEnv as InterventionVectorEnv
from .vector_env import to_sb3 as to_sb3
