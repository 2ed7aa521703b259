from .generation import generate as generate
from .loading import load_causal as load_causal
from .loading import load_tokenizer as load_tokenizer
from .parsing import parse_action as parse_action
from .scoring import CandidateScorer as CandidateScorer
from .scoring import score_candidates as score_candidates
from .tokenizer import build_tokenizer as build_tokenizer
from .training import finetune as finetune
