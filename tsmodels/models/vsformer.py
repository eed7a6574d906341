"""VSFormer: a transformer over tokens of shape and tokens of value, steered by what each says about the class.

Xi, Zuo, Alvarez, Zhang, Choi and Lin, "VSFormer: Value and Shape-Aware Transformer with Prior-Enhanced Self-Attention
for Multivariate Time Series Classification", arXiv 2412.16515.  Our reconstruction of VSFormer (arXiv 2412.16515) from
its abstract and public descriptions. Token construction, priors, attention and all hyperparameters are this package's
choices and may differ from the authors' model; results must not be quoted as theirs.

Public descriptions say: motifs of each class and channel make shape tokens, statistics of intervals of several lengths
make value tokens; labels give priors (distance within and outside the class, conditional entropy) that go into the
encoding of tokens and multiply attention; both representations are fused before a linear map.  Decided here:

* motifs are the windows nearest to a window of another series of their class, by z-normalised distance;
* a shape token is the nearest window anywhere in the series and how it differs from the motif;
* priors are ratios of mean distances without the motif's own series, and entropies less what chance explains;
* a prior multiplies attention with a learned power per head and kind of token, and weights are normalised again;
* tokens are summed with their priors, each through a map of its own: one map of their mean forgets which token said
  what, and was worse in cross-validation; one learned share mixes the logits of both kinds.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tsmodels.layers import PriorAttention, PriorEncoder, fill_gaps, interval_level

from ._config import records_config
from ._prepared import Explanation, PreparedNetwork, ragged
from ._search import Choice, Integer, Real
from ._series import check_channels, check_facts
from ._vsformer_readout import READ_OUTS
from ._vsformer_search import TrainingCases
from ._vsformer_tokens import ShapeTokens, TokenEncoding, Tokens, ValueTokens, observed

_CHOICES = {"match": ("znorm", "raw"), "streams": ("joint", "separate"), "readout": tuple(READ_OUTS)}


class _ReadOut(NamedTuple):
    logits: Tensor
    """(batch, class)"""
    found: Tokens
    shares: Tensor
    """(batch, token): weight of each encoded token in the logits."""
    attention: list[Tensor]
    """(batch, query, key) of the last layer of each encoder, mean over heads; empty unless asked for."""


@records_config
class VSFormerForClassification(PreparedNetwork):
    """VSFormer network that classifies multivariate series by shapes and values.

    Our reconstruction of VSFormer (arXiv 2412.16515) from its abstract and public descriptions. Token construction,
    priors, attention and all hyperparameters are this package's choices and may differ from the authors' model;
    results must not be quoted as theirs.

    Before training, `prepare` looks at the training cases. For each class, channel and three lengths it finds motifs,
    windows that have a near neighbour in another series of the class. A shape token of a series is its window nearest
    to a motif. A value token is mean, deviation and slope of a channel over one of 1, 2, 4, ... equal intervals. Every
    token has a prior ρ from the training labels: how much nearer its motif comes to its own class than to others, or
    which share of the uncertainty about the class its statistics take away. The tokens pass through transformer layers
    whose attention is multiplied by powers of ρ, and are read out with weights w = (ρ + 0.001) / Σ (ρ + 0.001), kind by
    kind and each by a matrix of its own::

        logits = γ Σ_shape w_j W_j z_j + (1 - γ) Σ_value w_j W_j z_j + bias

    Series of unequal length and with missing values are handled exactly: padding a series changes nothing. Windows
    may hold interpolated values, statistics do not. A series shorter than a motif lacks its token. If no window of the
    training cases varies there are value tokens only.

    Shapes: x (batch, time, channel), lengths (batch,), mask like x -> logits (batch, n_classes).

    Parameters
    ----------
    n_channels : int
        Number of channels of a series.
    n_timepoints : int
        Length of the longest training series; unit of the places of tokens.
    n_classes : int
        Number of classes.
    d_model : int, default=64
        Width of tokens.
    n_heads : int, default=4
        Attention heads; must divide ``d_model``.
    n_layers : int, default=2
        Transformer layers.
    d_ff : int, default=128
        Width inside the feed-forward networks.
    dropout : float, default=0.2
        Dropout in the layers; half of it on the tokens that enter them.
    n_prototypes : int, default=300
        Shape tokens at most. Every class, channel and length has equally many motifs; if that cannot be, those of the
        largest priors are kept, half of the places being shared out evenly among the classes first.
    n_intervals : int, default=600
        Value tokens at most; those of the largest priors.
    n_levels : int, default=4
        Times that the intervals are halved; fewer where they would get shorter than four steps.
    match : {"znorm", "raw"}, default="raw"
        Whether windows are compared with motifs after both are brought to mean 0 and deviation 1, or as they are, in
        units of the channel's deviation.
    streams : {"joint", "separate"}, default="separate"
        One transformer over both kinds of tokens, or one each.
    readout : {"tokens", "mean"}, default="tokens"
        Whether each token has a matrix of its own in the logits, or their weighted mean has one.
    prior_attention : bool, default=True
        Whether the prior weighs attention and the final mean; else both are plain.
    prior_encoding : bool, default=True
        Whether the prior is told to the tokens.
    use_shape, use_value : bool, default=True
        Which kinds of tokens there are.

    Raises
    ------
    ValueError
        If a fact or a width is below 1, a choice does not exist, or there would be no token.

    References
    ----------
    .. [1] W. Xi, R. Zuo, A. Alvarez, J. Zhang, B. Choi, J. Lin, "VSFormer: Value and Shape-Aware Transformer with
       Prior-Enhanced Self-Attention for Multivariate Time Series Classification", arXiv:2412.16515.
    """

    search_space = {
        "d_model": Choice(32, 64, 128),  # multiples of all numbers of heads
        "n_heads": Choice(2, 4, 8),
        "n_layers": Integer(1, 3),
        "dropout": Real(0.0, 0.5),
        "n_prototypes": Choice(100, 300, 600),
        "n_intervals": Choice(200, 600, 1200),
        "match": Choice("raw", "znorm"),
        "streams": Choice("separate", "joint"),
        "readout": Choice("tokens", "mean"),
        "lr": Real(1e-4, 1e-2, log=True),
        "max_epochs": Integer(30, 200, log=True),
    }

    accepts_any_length = True
    FOUND = (
        "channel_mean",
        "channel_std",
        "prototypes",
        "prototype_length",
        "prototype_channel",
        "prototype_label",
        "prototype_series",
        "prototype_start",
        "prototype_prior",
        "value_channel",
        "value_interval",
        "value_prior",
        "value_center",
        "value_scale",
    )
    channel_mean: Tensor
    channel_std: Tensor
    prototypes: Tensor
    prototype_length: Tensor
    prototype_channel: Tensor
    prototype_label: Tensor
    prototype_series: Tensor
    prototype_start: Tensor
    prototype_prior: Tensor
    value_channel: Tensor
    value_interval: Tensor
    value_prior: Tensor
    value_center: Tensor
    value_scale: Tensor
    _stream: Tensor
    _scale: Tensor
    _label: Tensor

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        n_classes: int,
        *,
        d_model: int = 64,
        n_heads: int = 4,
        n_layers: int = 2,
        d_ff: int = 128,
        dropout: float = 0.2,
        n_prototypes: int = 300,
        n_intervals: int = 600,
        n_levels: int = 4,
        match: str = "raw",
        streams: str = "separate",
        readout: str = "tokens",
        prior_attention: bool = True,
        prior_encoding: bool = True,
        use_shape: bool = True,
        use_value: bool = True,
    ):
        check_facts(n_channels=n_channels, n_timepoints=n_timepoints, n_classes=n_classes)
        check_facts(d_model=d_model, n_layers=n_layers, d_ff=d_ff, n_prototypes=n_prototypes, n_intervals=n_intervals)
        for name, value in (("match", match), ("streams", streams), ("readout", readout)):
            if value not in _CHOICES[name]:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, _CHOICES[name]))}; got {value!r}")
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads must divide d_model, got {n_heads} heads for a width of {d_model}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be from 0 to 1, got {dropout}")
        if n_levels < 0:
            raise ValueError(f"n_levels must be at least 0, got {n_levels}")
        if not (use_shape or use_value):
            raise ValueError("use_shape and use_value are both False: a network needs one kind of tokens")
        super().__init__(n_channels, n_classes)
        self.n_timepoints = n_timepoints
        self.d_model, self.n_heads, self.n_layers, self.d_ff, self.dropout = d_model, n_heads, n_layers, d_ff, dropout
        self.n_prototypes, self.n_intervals, self.n_levels = n_prototypes, n_intervals, n_levels
        self.match, self.streams, self.readout = match, streams, readout
        self.prior_attention, self.prior_encoding = prior_attention, prior_encoding
        self.use_shape, self.use_value = use_shape, use_value

    def _find(
        self, x: Tensor, y: Tensor, lengths: Tensor | None, mask: Tensor | None, *, seed: int, progress: bool
    ) -> dict[str, Tensor]:
        cases = TrainingCases(x, y, lengths, mask, self.n_classes, n_levels=self.n_levels, seed=seed, progress=progress)
        values = cases.interval_tokens(self.n_intervals if self.use_value else 0)
        motifs = cases.motif_tokens(self.n_prototypes if self.use_shape else 0, normalize=self.match == "znorm")
        if len(motifs["prototypes"]) + len(values["value_channel"]) == 0:
            raise ValueError(
                "no window of the training series x varies, so there is no shape to compare: pass use_value=True"
            )
        return {"channel_mean": cases.mean, "channel_std": cases.std} | motifs | values

    def _build(self) -> None:
        self.tokens, self.classify = nn.ModuleDict(), nn.ModuleDict()
        lengths, intervals = self.prototype_length.tolist(), self.value_interval
        distinct = sorted(set(lengths))
        counts, scale = [], [distinct.index(length) for length in lengths]
        if lengths:
            normalize = self.match == "znorm"
            self.tokens["shape"] = ShapeTokens(
                lengths, self.prototype_channel.tolist(), self.d_model, normalize=normalize
            )
            counts.append(len(lengths))
        if len(intervals):
            self.tokens["value"] = ValueTokens(self.value_channel.tolist(), intervals.tolist(), self.d_model)
            scale += (len(distinct) + interval_level(intervals)).tolist()
            counts.append(len(intervals))
        for kind, count in zip(self.tokens, counts, strict=True):
            self.classify[kind] = READ_OUTS[self.readout](count, self.d_model, self.n_classes)
        if len(self.tokens) == 2:
            self.share_logit = nn.Parameter(torch.zeros(()))
        self.encoding = TokenEncoding(
            self.n_channels,
            max(scale) + 1,
            self.n_classes + 1,  # the last for value tokens
            self.d_model,
            prior=self.prior_encoding,
            dropout=self.dropout / 2,
        )
        self.encoders = nn.ModuleList(
            self._encoder(n) for n in ([len(counts)] if self._is_joint else [1] * len(counts))
        )
        self.norm = nn.LayerNorm(self.d_model)
        ends = list(itertools.accumulate(counts))
        self._parts = [slice(end - n, end) for end, n in zip(ends, counts, strict=True)]
        stream = [kind if self._is_joint else 0 for kind, n in enumerate(counts) for _ in range(n)]
        label = self.prototype_label.tolist() + [self.n_classes] * len(intervals)
        for name, numbers in (("_stream", stream), ("_scale", scale), ("_label", label)):
            self.register_buffer(name, torch.tensor(numbers), persistent=False)

    @property
    def _is_joint(self) -> bool:
        return self.streams == "joint"

    def _encoder(self, n_streams: int) -> PriorEncoder:
        return PriorEncoder(
            *(self.n_layers, self.d_model, self.n_heads, self.d_ff),
            n_streams=n_streams if self.prior_attention else 0,
            dropout=self.dropout,
        )

    @property
    def shape_share(self) -> float:
        """Share γ of the shape tokens in the logits; 1 or 0 where there is only one kind of tokens."""
        self._require_prepared()
        if len(self.tokens) == 2:
            return self.share_logit.detach().sigmoid().item()
        return 1.0 if "shape" in self.tokens else 0.0

    def forward(self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits of a batch.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel)
            Series; what stands where ``mask`` is False or behind ``lengths`` is not read.
        lengths : Tensor of int64, shape (batch,), optional
            Valid steps from the start; default all.
        mask : Tensor of bool, shape (batch, time, channel), optional
            True where a value was observed; default everywhere.

        Returns
        -------
        Tensor, shape (batch, n_classes)
            Logits.

        Raises
        ------
        ValueError
            If ``x`` has another number of axes or channels than the network was built for.
        RuntimeError
            If the network is not prepared.
        """
        return self._read_out(x, lengths, mask, explained=False).logits

    @torch.no_grad()
    def explain(self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Explanation:
        """What the network looks at: the tokens of each series and the share that each has in the logits.

        The share of token j is Σ_i r_i a_ij with a_ij the attention of the last layer, mean over heads, and r_i the
        weight of token i in the read-out: its share of the mean of its kind, times the share of the kind. A series
        without any token gives equal shares.

        Parameters
        ----------
        x, lengths, mask
            As of `forward`.

        Returns
        -------
        Explanation
            Shape tokens first, in the order of `token_table`.

        Raises
        ------
        ValueError, RuntimeError
            As `forward`.
        """
        logits, found, shares, attention = self._read_out(x, lengths, mask, explained=True)
        return Explanation(logits, _attended(shares, attention), found.start, found.end, found.distance)

    def token_table(self) -> dict[str, np.ndarray]:
        """One entry for each token of `explain`.

        Returns
        -------
        dict of array (token,)
            ``kind`` ("shapelet" or "value"), ``class_code`` (-1 for value tokens), ``channel``, ``start``, ``end``,
            ``length`` (of the motif in its series; -1 for value tokens), ``level`` and ``part`` (the interval is part
            ``part`` of ``2 ** level``; -1 for shape tokens), ``score`` (the prior), ``threshold`` (NaN) and ``reach``
            (-1), which these tokens do not have, ``values`` (the motif in the units of ``x``; None for value tokens).
        """
        self._require_prepared()
        n_shape, n_value = len(self.prototypes), len(self.value_interval)
        level = interval_level(self.value_interval)

        def joined(of_shape: Tensor | None, of_value: Tensor | None) -> np.ndarray:
            parts = (of_shape, n_shape), (of_value, n_value)
            return np.concatenate([np.full(n, -1) if part is None else part.cpu().numpy() for part, n in parts])

        return {
            "kind": np.repeat(["shapelet", "value"], [n_shape, n_value]),
            "class_code": joined(self.prototype_label, None),
            "channel": joined(self.prototype_channel, self.value_channel),
            "start": joined(self.prototype_start, None),
            "end": joined(self.prototype_start + self.prototype_length, None),
            "length": joined(self.prototype_length, None),
            "level": joined(None, level),
            "part": joined(None, self.value_interval + 1 - 2**level),
            "score": joined(self.prototype_prior, self.value_prior),
            "threshold": np.full(n_shape + n_value, np.nan),
            "reach": np.full(n_shape + n_value, -1),
            "values": ragged(self._motifs() + [None] * n_value),
        }

    def _motifs(self) -> list[np.ndarray]:
        channel = self.prototype_channel
        values = self.prototypes * self.channel_std[channel, None] + self.channel_mean[channel, None]
        rows = zip(values.double().cpu().numpy(), self.prototype_length.tolist(), strict=True)
        return [row[:length] for row, length in rows]

    def _read_out(self, x: Tensor, lengths: Tensor | None, mask: Tensor | None, *, explained: bool) -> _ReadOut:
        check_channels(x, self.n_channels)
        self._require_prepared()
        found = self._tokens(x, lengths, mask)
        prior = torch.cat([self.prototype_prior, self.value_prior])
        place = torch.stack([found.start, found.end], -1).to(prior.dtype) / self.n_timepoints
        channel = torch.cat([self.prototype_channel, self.value_channel])
        tokens = self.encoding(found.content, place, channel, self._scale, self._label, prior)
        tokens, attention = self._encoded(tokens, prior, found.valid, explained=explained)
        weights = found.valid * (prior + PriorAttention.OFFSET if self.prior_attention else torch.ones_like(prior))
        logits, shares = x.new_zeros(()), []
        for share, part, classify in zip(self._shares(), self._parts, self.classify.values(), strict=True):
            within = weights[:, part] / weights[:, part].sum(1, keepdim=True).clamp(min=PriorAttention.OFFSET)
            logits = logits + share * classify(tokens[:, part], within)
            shares.append(share * within)
        return _ReadOut(logits, found, torch.cat(shares, 1), attention)

    def _shares(self) -> list[Tensor | float]:
        if len(self.tokens) == 1:
            return [1.0]
        share = self.share_logit.sigmoid()
        return [share, 1 - share]

    def _tokens(self, x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> Tokens:
        """All tokens of both kinds, the shapes first."""
        filled, lo, hi = fill_gaps(x, lengths, mask)
        standardised = (filled - self.channel_mean) / self.channel_std
        found = []
        if "shape" in self.tokens:
            found.append(self.tokens["shape"](standardised, lo, hi, self.prototypes))
        if "value" in self.tokens:
            seen = observed(x, lengths, mask)
            found.append(self.tokens["value"](standardised, seen, lo, hi, self.value_center, self.value_scale))
        return Tokens(*(torch.cat(parts, 1) for parts in zip(*found, strict=True)))

    def _encoded(self, tokens: Tensor, prior: Tensor, valid: Tensor, *, explained: bool) -> tuple[Tensor, list[Tensor]]:
        """Tokens behind the last layer, and what each encoder attended to if asked for."""
        parts = [slice(None)] if self._is_joint else self._parts
        encoded, attention = [], []
        for encoder, part in zip(self.encoders, parts, strict=True):
            given = prior[part] if self.prior_attention else None
            x, weights = encoder(tokens[:, part], given, self._stream[part], valid[:, part], explained=explained)
            encoded.append(x)
            if weights is not None:
                attention.append(weights)
        return self.norm(torch.cat(encoded, 1)), attention


def _attended(shares: Tensor, attention: list[Tensor]) -> Tensor:
    """Shares (batch, token) of the tokens that the read-out takes, handed on to those that they attend to."""
    sizes = [weights.shape[1] for weights in attention]
    parts = zip(shares.split(sizes, 1), attention, strict=True)
    attended = torch.cat([(part[:, None] @ weights)[:, 0] for part, weights in parts], 1)
    total = attended.sum(1, keepdim=True)
    return torch.where(total > 0, attended / total.clamp(min=1e-30), 1 / attended.shape[1])
