"""BabyAI: instructions in a grid of rooms (`selfreg/BabyAI-GoToLocal-v0` and other levels), as text.

Modules: ``levels`` (the levels of the package ``minigrid``, tasks and splits), ``mission`` (the instructions and what
is done of them), ``view`` (what the agent sees), ``text`` (observations and actions), ``situation`` (the next
instruction and the objects that it is about), ``keys``, ``vector``, ``state`` (exact snapshots), ``expert`` (the bot),
``env`` (the Gymnasium env).
"""

from selfreg_gym.errors import MissingPackageError

try:
    from selfreg_gym.envs.babyai.env import BabyAI
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "minigrid":
        raise
    raise MissingPackageError(
        "the BabyAI tasks need the package minigrid: pip install 'selfreg-gym[minigrid]'."
    ) from error

__all__ = ["BabyAI"]

ENTRY = "BabyAI"
IDS = {
    "selfreg/BabyAI-v0": {},  # GoToLocal, PickupLoc and PutNextLocal in turn
    "selfreg/BabyAI-GoToRedBallGrey-v0": {"levels": "GoToRedBallGrey"},
    "selfreg/BabyAI-GoToRedBall-v0": {"levels": "GoToRedBall"},
    "selfreg/BabyAI-GoToRedBallNoDists-v0": {"levels": "GoToRedBallNoDists"},
    "selfreg/BabyAI-GoToObj-v0": {"levels": "GoToObj"},
    "selfreg/BabyAI-GoToObjS4-v0": {"levels": "GoToObjS4"},
    "selfreg/BabyAI-GoToObjS6-v1": {"levels": "GoToObjS6"},
    "selfreg/BabyAI-GoToLocal-v0": {"levels": "GoToLocal"},
    "selfreg/BabyAI-GoToLocalS5N2-v0": {"levels": "GoToLocalS5N2"},
    "selfreg/BabyAI-GoToLocalS6N2-v0": {"levels": "GoToLocalS6N2"},
    "selfreg/BabyAI-GoToLocalS6N3-v0": {"levels": "GoToLocalS6N3"},
    "selfreg/BabyAI-GoToLocalS6N4-v0": {"levels": "GoToLocalS6N4"},
    "selfreg/BabyAI-GoToLocalS7N4-v0": {"levels": "GoToLocalS7N4"},
    "selfreg/BabyAI-GoToLocalS7N5-v0": {"levels": "GoToLocalS7N5"},
    "selfreg/BabyAI-GoToLocalS8N2-v0": {"levels": "GoToLocalS8N2"},
    "selfreg/BabyAI-GoToLocalS8N3-v0": {"levels": "GoToLocalS8N3"},
    "selfreg/BabyAI-GoToLocalS8N4-v0": {"levels": "GoToLocalS8N4"},
    "selfreg/BabyAI-GoToLocalS8N5-v0": {"levels": "GoToLocalS8N5"},
    "selfreg/BabyAI-GoToLocalS8N6-v0": {"levels": "GoToLocalS8N6"},
    "selfreg/BabyAI-GoToLocalS8N7-v0": {"levels": "GoToLocalS8N7"},
    "selfreg/BabyAI-GoTo-v0": {"levels": "GoTo"},
    "selfreg/BabyAI-GoToOpen-v0": {"levels": "GoToOpen"},
    "selfreg/BabyAI-GoToObjMaze-v0": {"levels": "GoToObjMaze"},
    "selfreg/BabyAI-GoToObjMazeOpen-v0": {"levels": "GoToObjMazeOpen"},
    "selfreg/BabyAI-GoToObjMazeS4R2-v0": {"levels": "GoToObjMazeS4R2"},
    "selfreg/BabyAI-GoToObjMazeS4-v0": {"levels": "GoToObjMazeS4"},
    "selfreg/BabyAI-GoToObjMazeS5-v0": {"levels": "GoToObjMazeS5"},
    "selfreg/BabyAI-GoToObjMazeS6-v0": {"levels": "GoToObjMazeS6"},
    "selfreg/BabyAI-GoToObjMazeS7-v0": {"levels": "GoToObjMazeS7"},
    "selfreg/BabyAI-GoToImpUnlock-v0": {"levels": "GoToImpUnlock"},
    "selfreg/BabyAI-GoToSeq-v0": {"levels": "GoToSeq"},
    "selfreg/BabyAI-GoToSeqS5R2-v0": {"levels": "GoToSeqS5R2"},
    "selfreg/BabyAI-GoToRedBlueBall-v0": {"levels": "GoToRedBlueBall"},
    "selfreg/BabyAI-GoToDoor-v0": {"levels": "GoToDoor"},
    "selfreg/BabyAI-GoToObjDoor-v0": {"levels": "GoToObjDoor"},
    "selfreg/BabyAI-Open-v0": {"levels": "Open"},
    "selfreg/BabyAI-OpenRedDoor-v0": {"levels": "OpenRedDoor"},
    "selfreg/BabyAI-OpenDoor-v0": {"levels": "OpenDoor"},
    "selfreg/BabyAI-OpenDoorDebug-v0": {"levels": "OpenDoorDebug"},
    "selfreg/BabyAI-OpenDoorColor-v0": {"levels": "OpenDoorColor"},
    "selfreg/BabyAI-OpenDoorLoc-v0": {"levels": "OpenDoorLoc"},
    "selfreg/BabyAI-OpenTwoDoors-v0": {"levels": "OpenTwoDoors"},
    "selfreg/BabyAI-OpenRedBlueDoors-v0": {"levels": "OpenRedBlueDoors"},
    "selfreg/BabyAI-OpenRedBlueDoorsDebug-v0": {"levels": "OpenRedBlueDoorsDebug"},
    "selfreg/BabyAI-OpenDoorsOrderN2-v0": {"levels": "OpenDoorsOrderN2"},
    "selfreg/BabyAI-OpenDoorsOrderN4-v0": {"levels": "OpenDoorsOrderN4"},
    "selfreg/BabyAI-Pickup-v0": {"levels": "Pickup"},
    "selfreg/BabyAI-UnblockPickup-v0": {"levels": "UnblockPickup"},
    "selfreg/BabyAI-PickupLoc-v0": {"levels": "PickupLoc"},
    "selfreg/BabyAI-PickupDist-v0": {"levels": "PickupDist"},
    "selfreg/BabyAI-PickupDistDebug-v0": {"levels": "PickupDistDebug"},
    "selfreg/BabyAI-PickupAbove-v0": {"levels": "PickupAbove"},
    "selfreg/BabyAI-PutNextLocal-v0": {"levels": "PutNextLocal"},
    "selfreg/BabyAI-PutNextLocalS5N3-v0": {"levels": "PutNextLocalS5N3"},
    "selfreg/BabyAI-PutNextLocalS6N4-v0": {"levels": "PutNextLocalS6N4"},
    "selfreg/BabyAI-PutNextS4N1-v0": {"levels": "PutNextS4N1"},
    "selfreg/BabyAI-PutNextS5N2-v0": {"levels": "PutNextS5N2"},
    "selfreg/BabyAI-PutNextS5N1-v0": {"levels": "PutNextS5N1"},
    "selfreg/BabyAI-PutNextS6N3-v0": {"levels": "PutNextS6N3"},
    "selfreg/BabyAI-PutNextS7N4-v0": {"levels": "PutNextS7N4"},
    "selfreg/BabyAI-Unlock-v0": {"levels": "Unlock"},
    "selfreg/BabyAI-UnlockLocal-v0": {"levels": "UnlockLocal"},
    "selfreg/BabyAI-UnlockLocalDist-v0": {"levels": "UnlockLocalDist"},
    "selfreg/BabyAI-UnlockPickup-v0": {"levels": "UnlockPickup"},
    "selfreg/BabyAI-UnlockPickupDist-v0": {"levels": "UnlockPickupDist"},
    "selfreg/BabyAI-BlockedUnlockPickup-v0": {"levels": "BlockedUnlockPickup"},
    "selfreg/BabyAI-ActionObjDoor-v0": {"levels": "ActionObjDoor"},
    "selfreg/BabyAI-FindObjS5-v0": {"levels": "FindObjS5"},
    "selfreg/BabyAI-FindObjS6-v0": {"levels": "FindObjS6"},
    "selfreg/BabyAI-FindObjS7-v0": {"levels": "FindObjS7"},
    "selfreg/BabyAI-KeyCorridor-v0": {"levels": "KeyCorridor"},
    "selfreg/BabyAI-KeyCorridorS3R1-v0": {"levels": "KeyCorridorS3R1"},
    "selfreg/BabyAI-KeyCorridorS3R2-v0": {"levels": "KeyCorridorS3R2"},
    "selfreg/BabyAI-KeyCorridorS3R3-v0": {"levels": "KeyCorridorS3R3"},
    "selfreg/BabyAI-KeyCorridorS4R3-v0": {"levels": "KeyCorridorS4R3"},
    "selfreg/BabyAI-KeyCorridorS5R3-v0": {"levels": "KeyCorridorS5R3"},
    "selfreg/BabyAI-KeyCorridorS6R3-v0": {"levels": "KeyCorridorS6R3"},
    "selfreg/BabyAI-OneRoomS8-v0": {"levels": "OneRoomS8"},
    "selfreg/BabyAI-OneRoomS12-v0": {"levels": "OneRoomS12"},
    "selfreg/BabyAI-OneRoomS16-v0": {"levels": "OneRoomS16"},
    "selfreg/BabyAI-OneRoomS20-v0": {"levels": "OneRoomS20"},
    "selfreg/BabyAI-MoveTwoAcrossS5N2-v0": {"levels": "MoveTwoAcrossS5N2"},
    "selfreg/BabyAI-MoveTwoAcrossS8N9-v0": {"levels": "MoveTwoAcrossS8N9"},
    "selfreg/BabyAI-Synth-v0": {"levels": "Synth"},
    "selfreg/BabyAI-SynthS5R2-v0": {"levels": "SynthS5R2"},
    "selfreg/BabyAI-SynthLoc-v0": {"levels": "SynthLoc"},
    "selfreg/BabyAI-SynthSeq-v0": {"levels": "SynthSeq"},
    "selfreg/BabyAI-MiniBossLevel-v0": {"levels": "MiniBossLevel"},
    "selfreg/BabyAI-BossLevel-v0": {"levels": "BossLevel"},
    "selfreg/BabyAI-BossLevelNoUnlock-v0": {"levels": "BossLevelNoUnlock"},
}
