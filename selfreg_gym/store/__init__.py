"""Storage of episodes: :class:`selfreg_gym.store.rollouts.Rollouts`, one SQLite file.

``schema`` has the tables and creates, opens and checks the file; ``writing`` adds episodes, ``reading`` returns them,
and ``export`` writes them in other formats.
"""
