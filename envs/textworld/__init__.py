"""Text games of the TextWorld package: cooking, coin collector, treasure hunter, a simple house.

Modules: ``challenges`` (settings and splits), ``games`` (building and caching of game files), ``engine`` (a running
game and its exact state), ``env`` (the Gymnasium env).
"""

from selfreg_gym.envs.textworld.env import TextWorld

__all__ = ["TextWorld"]

IDS = {
    "selfreg/TextWorld-Cooking-v0": {"challenge": "cooking"},
    "selfreg/TextWorld-CoinCollector-v0": {"challenge": "coin_collector"},
    "selfreg/TextWorld-TreasureHunter-v0": {"challenge": "treasure_hunter"},
    "selfreg/TextWorld-Simple-v0": {"challenge": "simple"},
}
ENTRY = "TextWorld"
