"""Tables of the benchmarks of dynamical systems, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tsmodels.benchmark._markdown import aligned, failures, seconds, whole
from tsmodels.benchmark.results import summarise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["chaos_markdown", "reconstruction_markdown"]


def reconstruction_markdown(results: pd.DataFrame) -> str:
    """Return the table of reconstructed dynamics and how to read it.

    Parameters
    ----------
    results : DataFrame
        As from :func:`tsmodels.benchmark.run_reconstruction`.
    """
    from tsmodels.benchmark.reconstruction import PROTOCOL

    summary = summarise(results)
    heading = ("Data set", "Model", "Runs", "Divergent", "D_stsp", "D_H", "PE(20)", "lambda_1")
    rows: list[tuple[str, ...]] = [(*heading, "D_KY", "Fit (s)", "Parameters")]
    for _, band in summary.groupby("dataset", sort=False):
        for i, row in enumerate(band.to_dict("records")):
            rows.append((row["dataset"] if i == 0 else "", *_reconstruction_cells(row)))
    notes = [
        f"Protocol: {PROTOCOL}.",
        "Medians over runs (seeds), ± the median absolute deviation. D_stsp: divergence of the occupation of state "
        "space (5 channels and fewer: 30 bins to a channel; more: Gaussian mixture of variance 1); D_H: Hellinger "
        "distance of power spectra; PE(20): mean squared error of 20 free steps, standardised data; lambda_1: largest "
        "Lyapunov exponent per unit of time; D_KY: Kaplan-Yorke dimension.",
        "Floor: the first half of the test series against the second; of Floor, lambda_1 and D_KY are those of the "
        "true system, where it is known.",
        "Divergent: runs whose free run left all bounds, or has no point in the bins of the test series; they have no "
        "D_stsp and are not in its median.",
        *failures(summary),
    ]
    return _page(rows, notes, n_texts=2)


def _reconstruction_cells(row: dict[str, Any]) -> list[str]:
    if not row["n_finished"]:
        return [row["label"], "0", *[""] * 6, "failed", ""]
    runs = str(row["n_finished"]) + (f" ({row['n_failed']} failed)" if row["n_failed"] else "")
    measures = [_centre_and_spread(row, name) for name in ("d_stsp", "d_h", "pe_20", "lyapunov_max")]
    dimension = "" if row["kaplan_yorke"] != row["kaplan_yorke"] else f"{row['kaplan_yorke']:.2f}"
    divergent = str(row["divergent"]) if row["seeded"] else ""
    return [
        row["label"],
        runs,
        divergent,
        *measures,
        dimension,
        seconds(row["fit_seconds"]),
        whole(row["n_parameters"]),
    ]


def _centre_and_spread(row: dict[str, Any], name: str) -> str:
    centre, spread = row[name], row[f"{name}_mad"]
    if centre != centre:
        return ""
    return f"{centre:.3g}" if spread != spread else f"{centre:.3g} ± {spread:.1g}"


def chaos_markdown(results: pd.DataFrame) -> str:
    """Return the tables of forecasts of chaotic systems, over all systems and for each, and how to read them.

    Parameters
    ----------
    results : DataFrame
        As from :func:`tsmodels.benchmark.run_chaos`.
    """
    from tsmodels.benchmark.chaos import PROTOCOL

    summary = summarise(results)
    notes = [
        f"Protocol: {PROTOCOL}.",
        "sMAPE: 0 to 200, over all steps; valid time: until the mean sMAPE of the steps so far exceeds 30, in Lyapunov "
        "times. The first table sums up the systems, each with its mean over seeds; in the second, mean over seeds.",
        *failures(summary),
    ]
    return _page(list(_overall(summary)), []) + "\n" + _page(list(_by_system(summary)), notes)


def _overall(summary: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    yield (
        "Model",
        "Systems",
        "sMAPE median",
        "mean",
        "quartiles",
        "Valid time median",
        "mean",
        "Fit (s)",
        "Parameters",
    )
    rows = [row for row in summary.to_dict("records") if row["n_finished"]]
    groups = {
        label: [row for row in rows if row["label"] == label] for label in dict.fromkeys(r["label"] for r in rows)
    }
    for label, found in sorted(groups.items(), key=lambda group: np.median([row["smape"] for row in group[1]])):
        errors, times = (np.array([row[name] for row in found]) for name in ("smape", "valid_time"))
        low, high = np.quantile(errors, [0.25, 0.75])
        yield (
            str(label),
            str(len(found)),
            f"{np.median(errors):.1f}",
            f"{errors.mean():.1f}",
            f"{low:.1f}-{high:.1f}",
            f"{np.median(times):.2f}",
            f"{times.mean():.2f}",
            seconds(float(np.median([row["fit_seconds"] for row in found]))),
            whole(max((row["n_parameters"] for row in found if isinstance(row["n_parameters"], int)), default=None)),
        )


def _by_system(summary: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    labels = list(summary["label"].unique())
    yield ("System, sMAPE (valid time)", *labels)
    for name, rows in summary.groupby("dataset", sort=False):
        found = {row["label"]: row for row in rows.to_dict("records") if row["n_finished"]}
        best = min((row["smape"] for row in found.values()), default=np.nan)
        yield (str(name), *(_system_cell(found.get(label), best) for label in labels))


def _system_cell(row: dict[str, Any] | None, best: float) -> str:
    if row is None:
        return ""
    text = f"{row['smape']:.1f} ({row['valid_time']:.2f})"
    return f"**{text}**" if row["smape"] == best else text


def _page(rows: list[tuple[str, ...]], notes: list[str], n_texts: int = 1) -> str:
    return "\n".join([*aligned(rows, n_texts), *([""] if notes else []), *(f"- {note}" for note in notes)]) + "\n"
