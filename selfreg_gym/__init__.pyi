"""The public names of selfreg_gym, each written once: type checkers read this file, and `__init__` loads from it."""

from . import errors as errors
from . import testing as testing
from .adapters import as_helper as as_helper
from .agents.helpers.lm import LMHelper as LMHelper
from .calibration import calibrate as calibrate
from .calibration import calibrate_many as calibrate_many
from .collection import collect as collect
from .errors import SelfRegError as SelfRegError
from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate as evaluate
from .helper import Helper as Helper
from .helper import HelperKey as HelperKey
from .intervention_env.env import InterventionEnv as InterventionEnv
from .intervention_env.vector_env import InterventionVectorEnv as InterventionVectorEnv
from .intervention_env.vector_env import to_sb3 as to_sb3
from .labels import Labels as Labels
from .labels import label as label
from .playing.loop import run_episodes as run_episodes
from .playing.plan import EpisodeSpec as EpisodeSpec
from .prm import ProcessRewardModel as ProcessRewardModel
from .report import write_report as write_report
from .solver import (
    CappedSolution as CappedSolution,
)
from .solver import (
    Frontier as Frontier,
)
from .solver import (
    MixedPolicy as MixedPolicy,
)
from .solver import (
    Solution as Solution,
)
from .solver import (
    cross_fitted_value as cross_fitted_value,
)
from .solver import (
    evaluate_policy as evaluate_policy,
)
from .solver import (
    solve as solve,
)
from .solver import (
    solve_budget as solve_budget,
)
from .solver import (
    solve_caps as solve_caps,
)
from .solver import (
    solve_frontier as solve_frontier,
)
from .spaces import FreeText as FreeText
from .store.rollouts import Rollouts as Rollouts
from .transitions import TransitionModel as TransitionModel
from .types import (
    Act as Act,
)
from .types import (
    Actor as Actor,
)
from .types import (
    Decision as Decision,
)
from .types import (
    Episode as Episode,
)
from .types import (
    HelperPolicy as HelperPolicy,
)
from .types import (
    Intervention as Intervention,
)
from .types import (
    TextTask as TextTask,
)
from .types import (
    Transition as Transition,
)
from .types import (
    as_actor as as_actor,
)
from .wrappers import (
    FeatureObservation as FeatureObservation,
)
from .wrappers import (
    HelpBudget as HelpBudget,
)
from .wrappers import (
    HelpCost as HelpCost,
)
from .wrappers import (
    PRMObservation as PRMObservation,
)
from .wrappers import (
    PRMReward as PRMReward,
)
from .wrappers import (
    StateKeyObservation as StateKeyObservation,
)

__version__: str
