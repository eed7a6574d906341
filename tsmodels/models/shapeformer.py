"""ShapeFormer: differences to shapelets as tokens of a transformer, beside a convolutional branch.

Le, Luo, Aickelin and Tran, "ShapeFormer: Shapelet Transformer for Multivariate Time Series Classification", KDD 2024,
arXiv 2405.14608. This is our implementation following the paper, with corrected shapelet discovery
(:func:`tsmodels.shapelets.discover_shapelets`); where the paper is silent, the public code decides. What differs:

* channels are standardised by the training series; series of unequal length and missing values are handled;
* a shapelet is matched by the distance of its discovery with its current values; if no window near its place fits, all
  windows are tried, and a learned vector stands for a shapelet that is longer than the series;
* the class token is the shapelet with the highest gain, as in the paper (the public code takes the earliest shapelet
  of the first class), and optional weights of shapelets start at 1;
* series of more than 1024 steps are average-pooled before the generic attention.
"""

import warnings
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from tsmodels.layers import AttentionPooling, PostNormBlock, ShapeletFilter, fill_gaps

from ._config import records_config
from ._prepared import Explanation, PreparedNetwork, ragged
from ._search import Choice, Integer, Real
from ._series import check_channels, check_facts
from ._shapeformer_generic import GenericBranch

if TYPE_CHECKING:
    from tsmodels.shapelets import ShapeletSet

CLASS_TOKENS = ("best", "per_class", "attention", "mean")

PRESETS = MappingProxyType(
    {
        "paper": {},
        "released": {
            "n_heads": 4,
            "d_generic": 48,
            "window": 50,
            "max_factor": 3.0,
            "shapelet_weights": True,
        },
    }
)
"""Choices of :class:`ShapeFormerForClassification` by where they stand: in the paper (the defaults), or in the public
code. How each is trained: "paper" with RAdam, learning rate 0.01, decoupled weight decay 5e-4, constant learning rate,
gradients clipped at 4 (the last three by this package, the paper is silent), 200 epochs, batches of 16; "released" with
RAdam, learning rate 0.05, decoupled weight decay 5e-4, cosine schedule, clipped at 4, 200 epochs, batches of 8."""


@records_config
class ShapeFormerForClassification(PreparedNetwork):
    """ShapeFormer network that classifies multivariate series by shapelets of their classes.

    Each discovered shapelet gives a token: the difference between it and the nearest window of the series, both seen
    through linear maps of their own. A transformer block lets the token of the best shapelet look at all others. A
    second branch convolves the series over time and channels, and attends over time. Both together end in a linear
    map. Series of unequal length are handled exactly: padding a series changes nothing.

    Give it labelled training cases with :meth:`prepare`, or a set of shapelets with :meth:`from_shapelets`, before it
    is used; a state dict holds all of it.

    Shapes: x (batch, time, channel), lengths (batch,), mask like x -> logits (batch, n_classes).

    Parameters
    ----------
    n_channels : int
        Number of channels of a series.
    n_timepoints : int
        Length of the longest training series. Steps behind it, in longer series, share one position.
    n_classes : int
        Number of classes.
    n_shapelets : int, default=30
        Shapelets of each class; all candidates of a class that has fewer. The paper takes 1 to 100, as each data set
        likes it; cross-validation within seven training sets preferred 30 to 3, 10 and 100.
    window : int, float or None, default=0.2
        How far from its own place a shapelet is looked for, in the discovery and by the network: an int is a number of
        steps, a float a fraction of the longest series, None means everywhere.
    d_model : int, default=128
        Width of shapelet tokens.
    d_generic : int, default=32
        Width of the generic branch.
    n_heads : int, default=16
        Attention heads in both; must divide both widths.
    d_ff : int, default=256
        Width inside the feed-forward networks.
    kernel_size : int, default=8
        Steps that the convolution over time spans.
    dropout : float, default=0.4
        Dropout in both branches.
    class_token : {"best", "per_class", "attention", "mean"}, default="best"
        Which shapelet token is classified: that of the shapelet with the highest gain, those of the best shapelet of
        each class side by side, a weighted mean with learned weights, or the mean.
    shapelet_weights : bool, default=False
        Whether every shapelet has a learned weight that its token is multiplied with before and after the
        feed-forward network.
    max_factor : float, optional
        Upper bound of the factor of distances by which complexities differ; 1 leaves it out. Default: none.
    freeze_shapelets : bool, default=False
        Keep the shapelets as they were found, and search each series for them only once.
    point_fraction : float, default=0.2
        Important points as a fraction of the length, for the discovery.
    max_reference : int or None, default=400
        Training series that candidates are compared with, at most; None for all.
    max_candidates : int or None, default=1_000_000
        Candidates at most; None for all.

    Attributes
    ----------
    shapelets : dict
        What was found.

    References
    ----------
    .. [1] X.-M. Le, L. Luo, U. Aickelin, M.-T. Tran, "ShapeFormer: Shapelet Transformer for Multivariate Time Series
       Classification", KDD 2024, arXiv:2405.14608.
    """

    search_space = {
        "n_shapelets": Choice(3, 10, 30, 100),
        "window": Choice(None, 0.1, 0.2, 0.5),
        "d_model": Choice(32, 64, 128),  # this and the next: multiples of all numbers of heads
        "d_generic": Choice(16, 32, 64),
        "n_heads": Choice(4, 8, 16),
        "dropout": Real(0.0, 0.5),
        "class_token": Choice("best", "per_class", "attention", "mean"),
        "lr": Real(1e-4, 1e-2, log=True),
        "max_epochs": Integer(30, 200, log=True),
    }

    accepts_any_length = True
    FOUND = (
        "found_values",
        "found_length",
        "found_channel",
        "found_start",
        "found_class",
        "found_gain",
        "found_threshold",
        "found_rank",
        "found_window",
        "mean",
        "std",
    )
    found_values: Tensor
    found_length: Tensor
    found_channel: Tensor
    found_start: Tensor
    found_class: Tensor
    found_gain: Tensor
    found_threshold: Tensor
    found_rank: Tensor
    found_window: Tensor
    mean: Tensor
    std: Tensor
    filter: ShapeletFilter
    classify: nn.Linear
    token_weights: nn.Parameter | None
    _rows: Tensor

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        n_classes: int,
        *,
        n_shapelets: int = 30,
        window: int | float | None = 0.2,
        d_model: int = 128,
        d_generic: int = 32,
        n_heads: int = 16,
        d_ff: int = 256,
        kernel_size: int = 8,
        dropout: float = 0.4,
        class_token: str = "best",
        shapelet_weights: bool = False,
        max_factor: float | None = None,
        freeze_shapelets: bool = False,
        point_fraction: float = 0.2,
        max_reference: int | None = 400,
        max_candidates: int | None = 1_000_000,
    ):
        check_facts(n_channels=n_channels, n_timepoints=n_timepoints, n_classes=n_classes, d_ff=d_ff)
        super().__init__(n_channels, n_classes)
        _check_choices(n_shapelets, d_model, d_generic, n_heads, kernel_size, class_token, max_factor)
        self.n_timepoints = n_timepoints
        self._discovery = {
            "n_per_class": n_shapelets,
            "window": window,
            "point_fraction": point_fraction,
            "max_reference": max_reference,
            "max_candidates": max_candidates,
        }
        self._filter_choices = {"d_model": d_model, "max_factor": max_factor, "freeze": freeze_shapelets}
        self.class_token, self._has_weights = class_token, shapelet_weights
        self.encoder = PostNormBlock(d_model, n_heads, d_ff, dropout)
        self.generic = GenericBranch(n_channels, n_timepoints, d_generic, n_heads, d_ff, kernel_size, dropout)
        self.pool = AttentionPooling(d_model, 1, shared=True) if class_token == "attention" else None
        self._widths = (d_model, d_generic)

    @classmethod
    def from_shapelets(
        cls,
        shapelet_set: "ShapeletSet",
        n_channels: int,
        n_timepoints: int,
        n_classes: int,
        *,
        held_out: Any = None,
        **choices: Any,
    ) -> Self:
        """Build a network from shapelets that were found before.

        Parameters
        ----------
        shapelet_set : ShapeletSet
            From :func:`tsmodels.shapelets.discover_shapelets`.
        n_channels, n_timepoints, n_classes : int
            Facts of the data, as for the class. Class codes are positions in ``shapelet_set.classes``.
        held_out : array (case, channel, time) or sequence of arrays (channel, time), optional
            The series that the network will be validated or tested with, in the units of those that the shapelets were
            discovered on. The set must not know any of them.
        **choices
            As for the class; those of the discovery have no effect, the window is that of the set. If the set was
            discovered with ``complexity=False``, `max_factor` must be 1 and is by default.

        Returns
        -------
        Self
            A network that is prepared.

        Raises
        ------
        ValueError
            If the set has no shapelets, other channels or classes, other distances than the network, or was discovered
            on a series of `held_out`.
        """
        n_found = (len(shapelet_set.mean), len(shapelet_set.classes))
        if n_found != (n_channels, n_classes):
            raise ValueError(
                f"shapelet_set was found in series of {n_found[0]} channels and {n_found[1]} classes, the network is "
                f"for {n_channels} and {n_classes}: discover shapelets in the training series of this network"
            )
        if not len(shapelet_set):
            raise ValueError("shapelet_set is empty: discover shapelets, or filter fewer of them away")
        shared = {} if held_out is None else shapelet_set.contains_series(held_out)
        if shared:
            raise ValueError(
                f"shapelet_set was discovered on {len(shared)} of the series of held_out, the first at position "
                f"{min(shared)}: discover shapelets in the training series alone"
            )
        if not shapelet_set.params["complexity"] and choices.setdefault("max_factor", 1.0) != 1:
            raise ValueError(
                "shapelet_set was discovered with complexity=False: its distances have no factor to bound, pass "
                f"max_factor=1 or nothing; got {choices['max_factor']}"
            )
        network = cls(n_channels, n_timepoints, n_classes, **choices)
        network._take(_found(shapelet_set, shapelet_set.label_code))
        return network

    @property
    def shapelets(self) -> dict[str, Any]:
        """What was found, in the order of tokens.

        "values": list of arrays, in the units of standardised channels; "channel", "start", "end", "class_code",
        "gain": arrays (shapelet,); "mean", "std": arrays (channel,) that channels were standardised by; "window": int.
        """
        self._require_prepared()
        table = self.token_table()
        values = self.found_values.cpu().numpy()
        return {
            "values": [row[:n] for row, n in zip(values, table["length"], strict=True)],
            **{name: table[name] for name in ("channel", "start", "end", "class_code")},
            "gain": table["score"],
            "mean": self.mean.cpu().numpy(),
            "std": self.std.cpu().numpy(),
            "window": int(self.found_window),
        }

    def token_table(self) -> dict[str, np.ndarray]:
        """What each token stands for.

        Returns
        -------
        dict of ndarray (token,)
            "kind" is "shapelet", "class_code" its class, "channel", "start" and "end" its place in the series that it
            comes from, "length" its steps, "score" its information gain in bits, "threshold" the distance below which
            the discovery took it for present (NaN if there is none) at most "reach" steps from its place, "values" the
            shapelet as it is now, trained, in the units of ``x``.
        """
        self._require_prepared()
        start, length = (t.cpu().numpy() for t in (self.found_start, self.found_length))
        return {
            "kind": np.full(len(start), "shapelet"),
            "class_code": self.found_class.cpu().numpy(),
            "channel": self.found_channel.cpu().numpy(),
            "start": start,
            "end": start + length,
            "length": length,
            "score": self.found_gain.cpu().numpy(),
            "threshold": self.found_threshold.double().cpu().numpy(),
            "reach": np.full(len(start), int(self.found_window)),
            "values": ragged(self._values()),
        }

    def _values(self) -> list[np.ndarray]:
        spread, level = (each[self.found_channel].double().cpu() for each in (self.std, self.mean))
        rows = zip(self.filter.values(), spread, level, strict=True)
        return [(row.double().cpu() * by + to).numpy() for row, by, to in rows]

    def forward(self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits of a batch.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel)
            Series; what stands where ``mask`` is False or behind ``lengths`` is not read.
        lengths : Tensor of int64, shape (batch,), optional
            Valid steps from the start; default all.
        mask : Tensor of bool, shape (batch, time, channel), optional
            True where a value was observed; default everywhere. Gaps are interpolated.

        Returns
        -------
        Tensor, shape (batch, n_classes)
        """
        x, lo, hi = self._standardised(x, lengths, mask)
        return self._logits(self._read(self.filter(x, lo, hi)), x, lengths)

    def explain(self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Explanation:
        """Logits of a batch, where its shapelets were found, and how much the class token looked at each.

        Parameters
        ----------
        x, lengths, mask
            As for the network itself.

        Returns
        -------
        Explanation
            One token for each shapelet, see :meth:`token_table`. ``attention`` is the mean over heads of the row of
            the token that is read out; of several rows, their mean, for "attention" with its weights.
        """
        x, lo, hi = self._standardised(x, lengths, mask)
        match = self.filter.match(x, lo, hi)
        tokens = self.filter.tokens(x, match.start)
        found = match.start >= 0
        return Explanation(
            self._logits(self._read(tokens), x, lengths),
            self._attention(tokens),
            match.start,
            torch.where(found, match.start + self.found_length, -1),
            match.distance.to(tokens.dtype),
        )

    def _standardised(
        self, x: Tensor, lengths: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Series without gaps, standardised, 0 outside the valid ranges, and these; None if all is valid."""
        self._require_prepared()
        check_channels(x, self.n_channels)
        x, lo, hi = fill_gaps(x, lengths, mask)
        x = (x - self.mean) / self.std
        if lengths is None and mask is None:
            return x, None, None
        steps = torch.arange(x.shape[1], device=x.device)[:, None]
        return torch.where((steps >= lo[:, None]) & (steps < hi[:, None]), x, 0), lo, hi

    def _read(self, tokens: Tensor) -> Tensor:
        """The vector that is classified."""
        if self.class_token in ("best", "per_class"):
            return self.encoder.read(tokens, self._rows, scale=self._scale(self._rows))[0].flatten(1)
        encoded = self.encoder(tokens, tokens, scale=self._scale())
        return encoded.mean(1) if self.pool is None else self.pool(encoded)

    def _attention(self, tokens: Tensor) -> Tensor:
        if self.class_token in ("best", "per_class"):
            return self.encoder.read(tokens, self._rows, scale=self._scale(self._rows))[1].mean(1)
        if self.pool is None:
            share = torch.full_like(tokens[..., 0], 1 / tokens.shape[1])
        else:
            share = self.pool.score(self.encoder(tokens, tokens, scale=self._scale())).softmax(1)[..., 0]
        return self.encoder.attention.seen(tokens, share)

    def _scale(self, rows: Tensor | slice = slice(None)) -> Tensor | float:
        return 1.0 if self.token_weights is None else self.token_weights[rows, None]

    def _logits(self, token: Tensor, x: Tensor, lengths: Tensor | None) -> Tensor:
        return self.classify(torch.cat([token, self.generic(x, lengths)], 1))

    def _find(
        self, x: Tensor, y: Tensor, lengths: Tensor | None, mask: Tensor | None, *, seed: int, progress: bool
    ) -> dict[str, Tensor]:
        from tsmodels.shapelets import ShapeletWarning, discover_shapelets

        if x.shape[1] < 2:
            raise ValueError("x holds series of one step: a shapelet has two or more, use another network")
        series = x.double()
        if lengths is not None:
            series = torch.where((torch.arange(x.shape[1]) < lengths[:, None])[..., None], series, torch.nan)
        if mask is not None:
            series = torch.where(mask, series, torch.nan)  # gaps are left to the discovery, which mistrusts wide ones
        with warnings.catch_warnings():  # the default number is no demand
            warnings.filterwarnings("ignore", "fewer than", ShapeletWarning)
            found = discover_shapelets(
                series.transpose(1, 2).numpy(), y.numpy(), **self._discovery, seed=seed, progress=progress
            )
        return _found(found, found.label)  # and not label_code: a class may have no training cases

    def _build(self) -> None:
        facts = {name: getattr(self, f"found_{name}").cpu() for name in ("values", "length", "channel", "start")}
        self.filter = ShapeletFilter(**facts, window=int(self.found_window), **self._filter_choices)
        rank, classes = self.found_rank.cpu(), self.found_class.cpu()
        best = [rank.argmin()]
        if self.class_token == "per_class":
            best = [torch.where(classes == code, rank, len(rank)).argmin() for code in classes.unique()]
        self.register_buffer("_rows", torch.stack(best), persistent=False)
        self.token_weights = nn.Parameter(torch.ones(len(rank))) if self._has_weights else None
        d_model, d_generic = self._widths
        n_tokens = len(best) if self.class_token == "per_class" else 1
        self.classify = nn.Linear(n_tokens * d_model + d_generic, self.n_classes)


def _found(shapelet_set: "ShapeletSet", class_codes: np.ndarray) -> dict[str, Tensor]:
    """The buffers of a network."""
    from tsmodels.shapelets._select import best_first

    s = shapelet_set
    length = s.end - s.start
    values = np.zeros((len(s), length.max()))
    for row, shapelet in zip(values, s.values, strict=True):
        row[: len(shapelet)] = shapelet
    rank = np.empty(len(s), dtype=np.int64)
    rank[best_first(s.gain, s.margin, s.series, s.channel, s.start, s.end)] = np.arange(len(s))
    arrays = {
        "found_values": values,
        "found_length": length,
        "found_channel": s.channel,
        "found_start": s.start,
        "found_class": class_codes.astype(np.int64),
        "found_gain": s.gain,
        "found_threshold": s.threshold,
        "found_rank": rank,
        "found_window": np.array(s.window),
        "mean": s.mean,
        "std": s.std,
    }
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _check_choices(
    n_shapelets: int,
    d_model: int,
    d_generic: int,
    n_heads: int,
    kernel_size: int,
    class_token: str,
    max_factor: float | None,
) -> None:
    if class_token not in CLASS_TOKENS:
        raise ValueError(f"class_token must be one of {', '.join(map(repr, CLASS_TOKENS))}; got {class_token!r}")
    for name, value in (("n_shapelets", n_shapelets), ("n_heads", n_heads), ("kernel_size", kernel_size)):
        if value < 1 or value != int(value):
            raise ValueError(f"{name} must be an integer of at least 1, got {value}")
    for name, width in (("d_model", d_model), ("d_generic", d_generic)):
        if width < 1 or width % n_heads:
            raise ValueError(f"{name} must be a multiple of n_heads={n_heads}, got {width}")
    if max_factor is not None and max_factor < 1:
        raise ValueError(f"max_factor must be at least 1, where it leaves the factor out, or None; got {max_factor}")
