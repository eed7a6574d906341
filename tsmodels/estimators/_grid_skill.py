"""Errors of grid forecasters by lead."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tsmodels.estimators._grid_base import GridForecaster
from tsmodels.estimators._grid_fields import read_field
from tsmodels.estimators._training import require_count

__all__ = ["skill_table"]


def skill_table(
    forecasters: Mapping[str, GridForecaster],
    field: object,
    *,
    start: int,
    leads: Sequence[int] = (1, 3, 6, 12),
    reference: str | None = None,
) -> pd.DataFrame:
    """Measure forecasts from many origins: the error over the cells that count, and the skill, by lead.

    Forecasts are made from the frame before `start` on, each frame in turn being the last that is known, as far as
    their targets lie in the field: of the ``n`` frames from `start` on, lead ``h`` has ``n + 1 - h`` targets.

    Parameters
    ----------
    forecasters : mapping of name to fitted forecaster
        Fitted on frames before `start`; they are neither fitted again nor updated.
    field : ndarray, xarray.DataArray or GriddedSeries
        What they were fitted on, with the frames that followed.
    start : int
        Row of the first frame that is forecast.
    leads : sequence of int, default=(1, 3, 6, 12)
        Frames ahead.
    reference : str, optional
        The forecaster relative to which skill is measured. By default the first.

    Returns
    -------
    DataFrame
        A row for each forecaster and lead, with the columns ``forecaster``, ``lead``, ``n_targets``, ``rmse``, the root
        of the squared error, mean over targets and cells that count, in the units of the field, and ``skill``,
        ``1 - mse / mse of the reference``: 1 is perfect, 0 as good as the reference.

    Raises
    ------
    sktime.exceptions.NotFittedError
        If a forecaster is not fitted.
    ValueError
        If there is no forecaster, no target for a lead, an unknown reference, or forecasters have different masks.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.estimators import ClimatologyGridForecaster, PersistenceGridForecaster, skill_table
    >>> field = np.cumsum(np.random.default_rng(0).normal(size=(60, 4, 5)), 0)
    >>> known = field[:40]
    >>> both = {"climatology": ClimatologyGridForecaster(), "persistence": PersistenceGridForecaster()}
    >>> table = skill_table({name: each.fit(known) for name, each in both.items()}, field, start=40, leads=[1, 3])
    >>> table.pivot(index="forecaster", columns="lead", values="n_targets").to_numpy().tolist()
    [[20, 18], [20, 18]]
    """
    if not forecasters:
        raise ValueError("forecasters must hold one at least.")
    for each in forecasters.values():
        each.check_is_fitted()
    reference = next(iter(forecasters)) if reference is None else reference
    if reference not in forecasters:
        raise ValueError(f"reference must be one of {', '.join(map(repr, forecasters))}, got {reference!r}.")
    for lead in leads:
        require_count("each of leads", lead)
    mask = next(iter(forecasters.values())).mask_
    if any(not np.array_equal(each.mask_, mask) for each in forecasters.values()):
        raise ValueError("forecasters have different masks: fit all on one field and mask, or compare them apart.")
    truth = read_field(field, mask, "field").values
    longest = max(leads, default=0)
    if not 1 <= start <= len(truth) - longest:
        raise ValueError(
            f"start={start} leaves no target for lead {longest} in the {len(truth)} frames of field: it must be from 1 "
            f"to {len(truth) - longest}."
        )
    counted = np.broadcast_to(mask, truth.shape[1:])
    errors = {}
    for name, forecaster in forecasters.items():
        origins = np.arange(start, len(truth))
        found = forecaster.backtest(field, longest, origins).reshape(len(origins), longest, *truth.shape[1:])
        for lead in leads:
            rows = origins + lead - 1
            there = rows < len(truth)
            difference = found[there, lead - 1] - truth[rows[there]]
            errors[name, lead] = int(there.sum()), float(np.square(difference[:, counted]).mean())
    return pd.DataFrame(
        [
            {
                "forecaster": name,
                "lead": int(lead),
                "n_targets": n,
                "rmse": mse**0.5,
                "skill": 1 - mse / errors[reference, lead][1] if errors[reference, lead][1] else float("nan"),
            }
            for (name, lead), (n, mse) in errors.items()
        ]
    )
