"""Splits of labelled cases into training and validation parts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stratified_split(codes: npt.ArrayLike, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split cases into a training and a validation part with the same mix of classes.

    About ``fraction * n_cases`` cases are drawn for validation, at least one. They are shared out over the classes in
    proportion (largest remainders, ties by chance), but every class keeps a training case: a class of one case stays
    whole in training.

    Parameters
    ----------
    codes : array-like (case,)
        Class of each case.
    fraction : float
        Share of the validation part, strictly between 0 and 1.
    seed : int
        Of ``np.random.default_rng``; equal seeds give equal splits.

    Returns
    -------
    train_index, val_index : ndarray of int64
        Ascending, disjoint, together all cases.

    Raises
    ------
    ValueError
        If `fraction` is out of range or no class has two cases.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"val_fraction must lie strictly between 0 and 1, got {fraction}.")
    _, codes, counts = np.unique(np.asarray(codes), return_inverse=True, return_counts=True)
    if counts.max(initial=0) < 2:
        raise ValueError(
            "no class has two cases, so none can be spared for validation: set val_fraction=None or add cases."
        )
    rng = np.random.default_rng(seed)
    n_val = _validation_counts(counts, fraction, rng)
    drawn = [rng.permutation(np.flatnonzero(codes == label))[:n] for label, n in enumerate(n_val)]
    in_val = np.zeros(len(codes), dtype=bool)
    in_val[np.concatenate(drawn)] = True
    return np.flatnonzero(~in_val), np.flatnonzero(in_val)


def _validation_counts(counts: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Return how many cases of each class are drawn for validation."""
    spare = counts - 1
    quota = np.minimum(counts * fraction, spare)
    n_val = np.floor(quota).astype(np.int64)
    total = min(max(round(counts.sum() * fraction), 1), spare.sum())
    while (rest := total - n_val.sum()) > 0:
        # classes by the part of their quota that is still open; those without a case to spare come last
        open_quota = np.where(n_val < spare, quota - n_val, -np.inf)
        order = np.lexsort((rng.random(len(counts)), -open_quota))
        chosen = order[: min(rest, int((n_val < spare).sum()))]
        n_val[chosen] += 1
    return n_val
