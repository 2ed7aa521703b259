from .bag_of_words import BagOfWords as BagOfWords
from .model import ProcessRewardModel as ProcessRewardModel
from .reliability import calibration_table as calibration_table
from .targets import TARGETS as TARGETS
