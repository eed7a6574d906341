"""Constants and one formula that the definition and all backends share."""

COMPLEXITY_FLOOR = 1e-3  # added to the sum of squared differences, so that the ratio of two flat windows is 1
DISTINCT = 1e-9  # distances closer than this, relatively, are equal: no threshold lies between them
GAIN_TIE = 1e-12  # gains closer than this are equal: rounding of sums of p log p
HEIGHT_TIE = 1e-9  # heights above chords closer than this, relative to the smaller extent of the plot, are equal


def points_of(n_timepoints: int, fraction: float, min_points: int) -> int:
    """Number of important points of a series."""
    return min(max(int(fraction * n_timepoints), min_points), n_timepoints)
