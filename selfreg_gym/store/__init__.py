"""The SQLite file behind :class:`selfreg_gym.store.rollouts.Rollouts`.

``schema`` says what is in it, how it is made, opened and checked; ``writing`` adds episodes; ``reading`` gives them
back.
"""
