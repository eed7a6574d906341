from .data import Candidates, Channels, Scores
from .op import find_candidates, important_points, match_shapelets, score_candidates

__all__ = [
    "Candidates",
    "Channels",
    "Scores",
    "find_candidates",
    "important_points",
    "match_shapelets",
    "score_candidates",
]
