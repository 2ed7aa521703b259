"""TextWorldExpress: cooking, finding a coin, tidying up and map reading as text games (`selfreg/TWX-CookingWorld-v0`).

Modules: ``games`` (parameters, tasks and splits), ``simulator`` (one game in the Java virtual machine), ``scene``
(reads the text of a room), ``knowledge`` (what the player has seen, and the state key), ``features`` (feature key and
sub-goals), ``text`` (observations), ``survey`` (all rooms of a game), ``recipe`` and ``expert`` (the planners), ``env``
(the Gymnasium env).
"""

from selfreg_gym.envs.twx.env import TWX

__all__ = ["TWX"]

ENTRY = "TWX"
IDS = {
    "selfreg/TWX-CookingWorld-v0": {"game": "cookingworld"},
    "selfreg/TWX-CoinCollector-v0": {"game": "coin"},
    "selfreg/TWX-Commonsense-v0": {"game": "twc"},
    "selfreg/TWX-MapReader-v0": {"game": "mapreader"},
}
