"""Chimera for anomaly detection: a network that gives back the windows it sees, unless they are unusual.

Behrouz, Santacatterina and Zabih, "Chimera: Effectively Modeling Multivariate Time Series with 2-Dimensional State
Space Models", NeurIPS 2024, arXiv 2406.04320, test anomaly detection by the reconstruction error of windows, in the
protocol of the Time-Series-Library: windows of 100 steps, squared error averaged over variates.  Width, depth,
embedding and readout for this use are not known.  What is this package's own choice, beside what
:mod:`tsmodels.models.chimera` lists:

* each variate of a window is squeezed into fewer numbers than it has steps (``d_latent``), halfway through the blocks,
  because a residual network of full width learns to copy whatever it is given, anomalies too.  A narrow map for each
  patch (``d_latent=0``, ``d_patch``) does less: it stops fast changes, but the level and the slope of a patch pass, so
  that a stretch of usual values at the wrong time is given back;
* or, with ``mode="predict"``, a patch is read from the token before it, which has not seen it; in the published
  protocol there is no such thing;
* windows are taken as they come (``normalise="none"``): normalised by its own mean and deviation, as the published
  baselines do, a window with a spike looks the same for spikes of all sizes.
"""

import torch
from torch import Tensor, nn

from tsmodels.layers import ChimeraBlock, PatchEmbedding, RevIN

from ._config import records_config
from ._search import Choice, Integer, Real
from ._series import check_channels, check_facts, cleaned

__all__ = ["ChimeraForReconstruction"]

_MODES = ("reconstruct", "predict")
_NORMALISATIONS = ("none", "revin")


@records_config
class ChimeraForReconstruction(nn.Module):
    """Chimera network that reconstructs windows of multivariate series, for anomaly detection.

    Patches of each variate become tokens, pass through blocks that scan the grid of variates and time with two coupled
    states (:func:`tsmodels_kernels.selective_scan_2d`), and are mapped back to the steps of their patch. Between the
    first half of the blocks and the second, a linear map makes ``d_latent`` numbers of all tokens of a variate, and
    another one makes tokens of these numbers; both are the same for all variates.

    Time is scanned forwards only. Without ``d_latent``, what a patch is reconstructed from is itself and what was
    before it, in all variates.

    Shapes: x (batch, time, channel), mask like x -> (batch, time, channel), in the units of x.

    Parameters
    ----------
    n_channels : int
        Number of channels (variates) of a window.
    n_timepoints : int
        Length of a window; larger patches are cut to it.
    d_model : int, default=32
        Width of tokens and heads.
    d_state : int, default=16
        Numbers in each of the two states of a channel.
    n_layers : int, default=2
        Number of blocks. Half of them, rounded down, come before the ``d_latent`` numbers.
    dropout : float, default=0.1
        Dropout in blocks.
    patch_size : int, default=10
        Time steps in a token. Patches do not overlap; the last one is padded.
    d_patch : int, optional
        Numbers that a token gets from the values of its own patch. Default: ``patch_size``, but a fifth of it, at least
        1, where patches are reconstructed and ``d_latent`` is 0.
    d_latent : int, optional
        Numbers that hold a variate of a window between the two halves of the blocks; 0: there is no such place.
        Default: a tenth of ``n_timepoints``, at least 2; 0 with ``mode="predict"``, where nothing can be copied.
    mode : {"reconstruct", "predict"}, default="reconstruct"
        Whether a patch is read from its own token, or predicted from the one before it. The first patch of a window,
        which has nothing before it, is then predicted by numbers that are learned.
    normalise : {"none", "revin"}, default="none"
        Whether a window is brought to mean 0 and deviation 1 before, and its reconstruction back: for series whose
        level wanders. Anomalies of level that fill a window are then invisible.
    coupling : {"full", "t2v", "v2t", "none"}, default="full"
        Which of the two states feeds the other: both, time to variate, variate to time, neither.
    gates : {"zoh", "half", "literal"}, default="zoh"
        Discretisation of the state transition; "literal" is unstable for small steps and warns.
    variate_mixing : {"bidir", "scan", "pooled"}, default="bidir"
        Variates are scanned in both directions, in one, or averaged. One variate needs one direction only.
    variate_embedding : bool, default=True
        Whether a learned vector tells the variates apart. False, with "pooled" mixing, makes the network independent of
        their order.

    References
    ----------
    .. [1] A. Behrouz, M. Santacatterina, R. Zabih, "Chimera: Effectively Modeling Multivariate Time Series with
       2-Dimensional State Space Models", NeurIPS 2024, arXiv:2406.04320.
    """

    search_space = {
        "d_model": Choice(16, 32, 64),
        "d_state": Choice(4, 8, 16, 32),
        "n_layers": Integer(1, 3),
        "dropout": Real(0.0, 0.5),
        "patch_size": Choice(5, 10, 20),
        "mode": Choice("reconstruct", "predict"),
        "normalise": Choice("none", "revin"),
        "coupling": Choice("full", "t2v", "v2t", "none"),
        "lr": Real(3e-4, 2e-2, log=True),
        "max_epochs": Integer(5, 60, log=True),
    }

    no_weight_decay = frozenset({"variates", "start"})

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        *,
        d_model: int = 32,
        d_state: int = 16,
        n_layers: int = 2,
        dropout: float = 0.1,
        patch_size: int = 10,
        d_patch: int | None = None,
        d_latent: int | None = None,
        mode: str = "reconstruct",
        normalise: str = "none",
        coupling: str = "full",
        gates: str = "zoh",
        variate_mixing: str = "bidir",
        variate_embedding: bool = True,
    ):
        super().__init__()
        check_facts(n_channels=n_channels, n_timepoints=n_timepoints, n_layers=n_layers, patch_size=patch_size)
        for name, value, allowed in (("mode", mode, _MODES), ("normalise", normalise, _NORMALISATIONS)):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}")
        patch_size = min(patch_size, n_timepoints)
        if d_latent is None:
            d_latent = max(2, n_timepoints // 10) if mode == "reconstruct" else 0
        if d_latent < 0 or (d_latent and mode == "predict"):
            raise ValueError(f"d_latent must be at least 0, and 0 with mode='predict', got {d_latent}")
        if d_patch is None:
            d_patch = patch_size if d_latent or mode == "predict" else max(1, patch_size // 5)
        check_facts(d_patch=d_patch)
        if variate_mixing == "bidir" and n_channels == 1:
            variate_mixing = "scan"
        self.n_channels, self.n_timepoints = n_channels, n_timepoints
        self.revin = RevIN(n_channels) if normalise == "revin" else None
        self.embed = PatchEmbedding(d_patch, patch_size, patch_size)
        self.widen = nn.Linear(d_patch, d_model)
        self.variates = nn.Parameter(0.02 * torch.randn(n_channels, d_model)) if variate_embedding else None
        self.blocks = nn.ModuleList(
            ChimeraBlock(
                d_model,
                dropout=dropout,
                d_state=d_state,
                coupling=coupling,
                gates=gates,
                variate_mixing=variate_mixing,
            )
            for _ in range(n_layers)
        )
        self.n_before = n_layers // 2  # blocks before the squeeze
        self.squeeze = Squeeze(-(-n_timepoints // patch_size), d_model, d_latent) if d_latent else None
        self.norm = nn.RMSNorm(d_model)
        # what stands for the token before the first one
        self.start = nn.Parameter(0.02 * torch.randn(d_model)) if mode == "predict" else None
        self.readout = nn.Linear(d_model, patch_size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Reconstructions of a batch of windows.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel)
            Windows; what stands where ``mask`` is False is not read.
        mask : Tensor of bool, shape (batch, time, channel), optional
            True where a value was observed; default everywhere.

        Returns
        -------
        Tensor, shape (batch, time, channel)
            Reconstruction, or with ``mode="predict"`` the prediction from the patches before, in the units of ``x``.
            There is one for missing values, too.

        Raises
        ------
        ValueError
            If ``x`` has another number of axes, channels or time steps than the network was built for.
        """
        check_channels(x, self.n_channels)
        if x.shape[1] != self.n_timepoints:
            raise ValueError(
                f"x has windows of {x.shape[1]} time steps, but the network was built for {self.n_timepoints}"
            )
        values, missing = cleaned(x, None, mask)
        if self.revin is None:
            return self._reconstructed(values, missing).to(x.dtype)
        values, mean, deviation = self.revin(values, mask)
        return self.revin.denormalise(self._reconstructed(values, missing).to(x.dtype), mean, deviation)

    def _reconstructed(self, values: Tensor, missing: Tensor | None) -> Tensor:
        tokens = self._told_apart(self.widen(self.embed(values, missing).to(self.widen.weight.dtype)))
        for number, block in enumerate(self.blocks):
            if self.squeeze is not None and number == self.n_before:
                tokens = self._told_apart(self.squeeze(tokens))
            tokens = block(tokens)
        tokens = self.norm(tokens)
        if self.start is not None:
            first = self.start.expand(len(tokens), 1, self.n_channels, -1).to(tokens.dtype)
            tokens = torch.cat([first, tokens[:, :-1]], 1)
        steps = self.readout(tokens)  # (batch, token, variate, step of the patch)
        return steps.transpose(2, 3).flatten(1, 2)[:, : self.n_timepoints]

    def _told_apart(self, tokens: Tensor) -> Tensor:
        return tokens if self.variates is None else tokens + self.variates


class Squeeze(nn.Module):
    """Tokens of each variate through few numbers and back: what does not fit is lost.

    Shapes: (batch, token, variate, d_model) -> the same.
    """

    def __init__(self, n_tokens: int, d_model: int, d_latent: int):
        super().__init__()
        self.narrow = nn.Linear(n_tokens * d_model, d_latent)
        self.widen = nn.Linear(d_latent, n_tokens * d_model)

    def forward(self, tokens: Tensor) -> Tensor:
        latent = self.narrow(tokens.transpose(1, 2).flatten(2))  # (batch, variate, d_latent)
        wide = self.widen(latent).unflatten(2, (tokens.shape[1], tokens.shape[3]))
        return wide.transpose(1, 2)
