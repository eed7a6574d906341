"""The definition of the join profile, window by window in NumPy."""

import numpy as np
from numpy.typing import NDArray


def join_profile_ref(
    series: list[NDArray], usable: list[NDArray], length: int, min_std: float
) -> tuple[NDArray, NDArray, NDArray]:
    """Distance, partner series and partner start of all windows, one series after the other."""
    places = [(i, start) for i, values in enumerate(series) for start in range(len(values) - length + 1)]
    windows = np.array([series[i][start : start + length] for i, start in places])
    deviation = windows.std(1)
    seen = np.array([usable[i][start] for i, start in places], dtype=bool) & (deviation >= min_std)
    normal = np.zeros_like(windows)
    normal[seen] = (windows[seen] - windows[seen].mean(1, keepdims=True)) / deviation[seen, None]

    distance = np.full(len(places), np.inf)
    partner = np.full((2, len(places)), -1)
    for a, (i, start) in enumerate(places):
        for b, (j, other) in enumerate(places):
            allowed = 2 * abs(start - other) > length if len(series) == 1 else i != j
            if allowed and seen[a] and seen[b]:
                apart = np.linalg.norm(normal[a] - normal[b])
                if apart < distance[a]:
                    distance[a], partner[:, a] = apart, (j, other)
    return distance, partner[0], partner[1]
