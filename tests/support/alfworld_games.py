"""Game files of ALFWorld made for tests: the package's own domain and grammar, and a small kitchen."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

__all__ = ["write_game"]

_PROBLEM = """
(define (problem plan_test)
 (:domain alfred)
 (:objects
  agent1 - agent
  {cabinets} - receptacle
  CounterTop_bar__plus_00_dot_50 Microwave_bar__plus_00_dot_60 Fridge_bar__plus_00_dot_80 - receptacle
  Apple_bar__minus_00_dot_10 Apple_bar__minus_00_dot_20 Mug_bar__minus_00_dot_30 - object
  CabinetType CounterTopType MicrowaveType FridgeType SinkBasinType - rtype
  AppleType MugType - otype
  {locations} loc_start - location
 )
 (:init
  (= (total-cost) 0)
  (atLocation agent1 loc_start)
  (receptacleType CounterTop_bar__plus_00_dot_50 CounterTopType)
  (receptacleType Microwave_bar__plus_00_dot_60 MicrowaveType)
  (receptacleType Fridge_bar__plus_00_dot_80 FridgeType)
  (openable Microwave_bar__plus_00_dot_60)
  (openable Fridge_bar__plus_00_dot_80)
  (receptacleAtLocation CounterTop_bar__plus_00_dot_50 loc_50)
  (receptacleAtLocation Microwave_bar__plus_00_dot_60 loc_60)
  (receptacleAtLocation Fridge_bar__plus_00_dot_80 loc_80)
  {facts}
  (canContain CabinetType AppleType) (canContain CabinetType MugType)
  (canContain CounterTopType AppleType) (canContain CounterTopType MugType)
  (canContain MicrowaveType AppleType) (canContain FridgeType AppleType)
  (objectType Apple_bar__minus_00_dot_10 AppleType) (objectType Apple_bar__minus_00_dot_20 AppleType)
  (objectType Mug_bar__minus_00_dot_30 MugType)
  (pickupable Apple_bar__minus_00_dot_10) (pickupable Apple_bar__minus_00_dot_20)
  (pickupable Mug_bar__minus_00_dot_30)
  (heatable Apple_bar__minus_00_dot_10) (heatable Apple_bar__minus_00_dot_20)
  (coolable Apple_bar__minus_00_dot_10) (coolable Apple_bar__minus_00_dot_20)
  (inReceptacle Apple_bar__minus_00_dot_10 CounterTop_bar__plus_00_dot_50)
  (objectAtLocation Apple_bar__minus_00_dot_10 loc_50)
  (inReceptacle Apple_bar__minus_00_dot_20 Fridge_bar__plus_00_dot_80)
  (objectAtLocation Apple_bar__minus_00_dot_20 loc_80)
  (inReceptacle Mug_bar__minus_00_dot_30 {first})
  (objectAtLocation Mug_bar__minus_00_dot_30 loc_1)
 )
 (:goal {goal})
 (:metric minimize (total-cost))
)
"""

_GOALS = {
    "pick_and_place_simple": (
        "put some mug on countertop",
        "(exists (?r - receptacle ?o - object) (and (inReceptacle ?o ?r) (objectType ?o MugType) "
        "(receptacleType ?r CounterTopType)))",
    ),
    "pick_heat_then_place_in_recep": (
        "heat some apple and put it in fridge",
        "(exists (?r - receptacle ?o - object) (and (heatable ?o) (objectType ?o AppleType) "
        "(receptacleType ?r FridgeType) (isHot ?o) (inReceptacle ?o ?r)))",
    ),
}


def write_game(
    folder: Path, task_type: str = "pick_and_place_simple", *, cabinets: int = 3, solvable: bool = True
) -> Path:
    """Write ``traj_data.json`` and ``game.tw-pddl`` into ``folder``, and return the path of the game."""
    spec = find_spec("alfworld")
    assert spec is not None
    assert spec.origin is not None
    data = Path(spec.origin).parent / "data"
    names = [f"Cabinet_bar__plus_0{i}_dot_10" for i in range(1, cabinets + 1)]
    facts = [
        f"(receptacleType {name} CabinetType) (openable {name}) (receptacleAtLocation {name} loc_{i})"
        for i, name in enumerate(names, 1)
    ]
    description, goal = _GOALS[task_type]
    problem = _PROBLEM.format(
        cabinets=" ".join(names),
        locations=" ".join(f"loc_{i}" for i in (*range(1, cabinets + 1), 50, 60, 80)),
        facts="\n  ".join(facts),
        first=names[0],
        goal=goal,
    )
    folder.mkdir(parents=True)
    game = {
        "pddl_domain": (data / "alfred.pddl").read_text(),
        "grammar": (data / "alfred.twl2").read_text().replace("UNKNOWN GOAL", description),
        "pddl_problem": problem,
        "walkthrough": [],
        "solvable": solvable,
    }
    (folder / "traj_data.json").write_text(json.dumps({"task_type": task_type}))
    path = folder / "game.tw-pddl"
    path.write_text(json.dumps(game))
    return path
