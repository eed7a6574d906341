"""Windows of a series that look like its end, and what followed them: the arithmetic of context parroting."""

import numpy as np

__all__ = ["GRID", "best_context", "continuations", "nearest"]

GRID = (5, 10, 20, 50, 100)  # contexts that "auto" chooses from
_ORIGINS = 10


def nearest(series: np.ndarray, context: int, horizon: int, n_matches: int, z_normalise: bool) -> np.ndarray:
    """Find the windows nearest to the last ``context`` points, each far enough from the end to tell what follows.

    Parameters
    ----------
    series : ndarray (n, n_channels)
        n is at least ``context`` + 1.
    context, horizon, n_matches : int
        Points of a window, of what is to follow, and windows wanted.
    z_normalise : bool
        Whether each window is brought to mean 0 and standard deviation 1 first, channel by channel.

    Returns
    -------
    ndarray of int
        At most ``n_matches`` (at least one) positions of the point after a window, nearest first. The windows start
        half a context apart or more: neighbours would tell the same story twice.
    """
    n = len(series)
    # without room for the horizon at least not a window that overlaps the end and is nearest for that alone
    room = next(gap for gap in (horizon, context, 1) if n - gap >= context)
    distance = _squared_distances(series[: n - room], series[-context:], z_normalise)
    found: list[int] = []
    while len(found) < n_matches:
        start = int(distance.argmin())
        if distance[start] == np.inf:
            break
        found.append(start + context)
        apart = max(1, context // 2)
        distance[max(0, start - apart + 1) : start + apart] = np.inf
    return np.array(found)


def continuations(series: np.ndarray, after: np.ndarray, context: int, horizon: int, z_normalise: bool) -> np.ndarray:
    """Copy what followed windows, (window, horizon, channel), in the units of the end of the series if normalised.

    Where the series ends before the horizon does, what followed is repeated from the match on.
    """
    steps = np.arange(horizon) % (len(series) - after)[:, None]
    copied = series[after[:, None] + steps]
    if not z_normalise:
        return copied
    mean, spread = (each[after - context][:, None] for each in _moments(series, context))
    end_mean, end_spread = _moments(series[-context:], context)
    # a flat window, or a flat end, says nothing on the scale of what follows
    told = (spread > 0) & (end_spread > 0)
    ratio = np.where(told, end_spread / np.where(told, spread, 1.0), 1.0)
    return (copied - mean) * ratio + end_mean


def best_context(series: np.ndarray, horizon: int, z_normalise: bool) -> int:
    """Choose the context of ``GRID`` that would have forecast the series best.

    Each is tried at 10 points spread over the second half of the series, where it sees what lies before and is judged
    by the mean absolute error of the steps after, at most ``horizon`` and a quarter of the series.

    Parameters
    ----------
    series : ndarray (n, n_channels)
        At least 2 points, channels in comparable units.
    horizon : int
        Steps to be forecast.
    z_normalise : bool
        As in :func:`nearest`.

    Returns
    -------
    int
        A member of ``GRID``, or 1 where the series is too short for any.
    """
    n = len(series)
    ahead = max(1, min(horizon, n // 4))
    origins = np.unique(np.linspace(n // 2, n - ahead, _ORIGINS).astype(int))
    errors = {context: 0.0 for context in GRID if 2 * context <= origins[0]}
    for context in errors:
        for origin in origins:
            past, future = series[:origin], series[origin : origin + ahead]
            after = nearest(past, context, ahead, 1, z_normalise)
            errors[context] += float(np.abs(continuations(past, after, context, ahead, z_normalise)[0] - future).mean())
    return min(errors, key=errors.__getitem__, default=1)


def _squared_distances(series: np.ndarray, query: np.ndarray, z_normalise: bool) -> np.ndarray:
    """Squared L2 distance of every window of a series to the query, summed over channels.

    One pass over the series for each point of the query: exact where the usual expansion into products cancels, and
    without an array of all windows.
    """
    context = len(query)
    n_windows = len(series) - context + 1
    mean, spread = np.zeros(1), np.ones(1)
    if z_normalise:
        mean, spread = _moments(series, context)
        query_mean, query_spread = _moments(query, context)
        query = (query - query_mean) / np.where(query_spread > 0, query_spread, 1.0)
        spread = np.where(spread > 0, spread, 1.0)
    total = np.zeros(n_windows)
    for lag, point in enumerate(query):
        total += np.square((series[lag : lag + n_windows] - mean) / spread - point).sum(1)
    return total


def _moments(series: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every window, (window, channel); a deviation by rounding alone counts as 0."""
    n_windows = len(series) - context + 1
    lagged = [series[lag : lag + n_windows] for lag in range(context)]
    mean = np.zeros(lagged[0].shape)
    for values in lagged:
        mean += values / context
    variance = np.zeros(mean.shape)
    for values in lagged:
        variance += np.square(values - mean) / context
    spread = np.sqrt(variance)
    return mean, np.where(spread > 1e-12 * np.abs(mean), spread, 0.0)
