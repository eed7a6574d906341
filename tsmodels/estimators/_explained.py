"""Classifiers whose networks can tell what they looked at."""

from typing import Any

import numpy as np
import pandas as pd

from tsmodels.estimators._applying import outputs_of
from tsmodels.estimators._base import NetClassifier
from tsmodels.estimators._training import require_count, resolve_device
from tsmodels.models._prepared import Explanation, ragged

__all__ = ["ExplainedClassifier"]


class ExplainedClassifier(NetClassifier):
    """A classifier over a network that is made of shapelets, and shows which of them it found where."""

    def explain(self, X: Any, top: int | None = None) -> pd.DataFrame:
        """Tell which parts of the series the network found and how much each of them counted.

        Parameters
        ----------
        X : panel
            Cases, in any container that `predict` takes.
        top : int, optional
            Only this many rows for each case, those with the most attention. None: all tokens of the network.

        Returns
        -------
        pandas.DataFrame
            A row for each case and token of the network, by falling attention within a case:

            ``case``
                Position in `X`.
            ``prediction``
                Label that the network gives the case.
            ``token``
                Number of the token in the network.
            ``kind``
                "shapelet", or "value" for tokens that summarise an interval.
            ``class``
                Label of the class that the shapelet was found for; missing for value tokens.
            ``channel``
                Channel number.
            ``attention``
                Share of what the network reads out that comes from the token; the shares of a case sum to 1.
            ``start``, ``end``
                Where the shapelet was found in the case, half-open; -1 where it does not fit.
            ``distance``
                From the shapelet, in standardised units; NaN for value tokens, inf where it does not fit.
            ``present``
                Whether the distance is below the threshold by which the shapelet told its class from the others in the
                training cases, at most the window away from its place. The threshold is that of the discovery: training
                moves the shapelets a little, and a `max_factor` makes distances smaller. False without a threshold.
            ``threshold``
                That distance; NaN for networks that have none.
            ``score``
                What the shapelet was chosen by, or the token's prior: see the network.
            ``shapelet``
                The shapelet's values in the units of `X`, an array; None for value tokens. The arrays are shared
                between rows.

        Raises
        ------
        ValueError
            If `X` does not fit what the classifier was fitted on, `top` is below 1, or `fit` saw one class only, for
            which there is no network.

        Notes
        -----
        Attention says what the network read, not what would change its mind: it is no measure of cause.
        """
        self.check_is_fitted()
        if top is not None:
            require_count("top", top)
        if self.n_classes_ == 1:
            raise ValueError(f"there is nothing to explain: y had one class, {self.classes_[0]}, no network was made")
        X = self._check_convert_X_for_predict(X)
        device = resolve_device(self.accelerator, self.devices)
        found = Explanation(*outputs_of(self.network_, self._batches(X), device, method="explain"))
        return _frame(found, self._tokens(), np.asarray(self.classes_), top)

    def _tokens(self) -> dict[str, np.ndarray]:
        """The network's table of tokens, with the shapelets in the units that the classifier was given."""
        network: Any = self.network_
        table = dict(network.token_table())
        spread, level = self.scaler_.scale_, self.scaler_.mean_
        table["shapelet"] = ragged(
            [
                None if values is None else values * spread[channel] + level[channel]
                for values, channel in zip(table.pop("values"), table["channel"], strict=True)
            ]
        )
        return table


def _frame(found: Explanation, tokens: dict[str, np.ndarray], classes: np.ndarray, top: int | None) -> pd.DataFrame:
    attention = found.attention.double().numpy()
    n_cases, n_tokens = attention.shape
    kept = n_tokens if top is None else min(int(top), n_tokens)
    token = np.argsort(-attention, axis=1, kind="stable")[:, :kept].ravel()
    case = np.repeat(np.arange(n_cases), kept)
    distance = found.distance.double().numpy()[case, token]
    start = found.start.numpy()[case, token]
    shift = np.abs(start - tokens["start"][token])
    predicted = classes[found.logits.argmax(1).numpy()]
    codes = tokens["class_code"][token]
    columns = {
        "case": case,
        "prediction": predicted[case],
        "token": token,
        "kind": tokens["kind"][token],
        # as objects: pandas would choose another type for it where all are missing
        "class": pd.Series([classes[code] if code >= 0 else None for code in codes], dtype=object),
        "channel": tokens["channel"][token],
        "attention": attention[case, token],
        "start": start,
        "end": found.end.numpy()[case, token],
        "distance": distance,
        # where no window near its place fits, the network takes one from anywhere, which the discovery does not
        "present": (distance < tokens["threshold"][token]) & (shift <= tokens["reach"][token]),
        "threshold": tokens["threshold"][token],
        "score": tokens["score"][token],
        "shapelet": tokens["shapelet"][token],
    }
    return pd.DataFrame(columns)
