"""Tokens from the places where shapelets fit a series best, for all shapelets at once."""

import functools
import hashlib
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ._distributed import keep_in_graph

PIECE = 24
"""Steps in a piece. Shapelets of one set differ tenfold in length: cut to pieces, short ones do not pay for long."""
COMPLEXITY_FLOOR = 1e-3
TIE = 1e-9
CHUNK = 1 << 21  # distances held at once; 16 MB in float64


class ShapeletMatch(NamedTuple):
    """Where shapelets were found."""

    start: Tensor
    """(batch, shapelet) int64: first step of the window; -1 where the shapelet is longer than the series."""
    distance: Tensor
    """(batch, shapelet) float64: complexity-invariant distance to it; inf where there is none."""


class ShapeletFilter(nn.Module):
    r"""Difference between each shapelet and the window of the series that is nearest to it (ShapeFormer, section 4.2).

    Shapelet j has values s_j of length l_j, a channel and a place p_j in it. Among the windows that start within
    ``window`` steps of p_j and lie inside the valid range of the channel, the one with the smallest::

        d(a)^2 = |x[a:a+l] - s_j|^2 max(c_a, c_j) / min(c_a, c_j),    c = 0.001 + sum of squared first differences

    is taken; if none fits, every window of the valid range counts. Its token is ``W_j x[a:a+l] + b_j - (W'_j s_j +
    b'_j)`` plus linear maps of channel, start and end of the shapelet, one-hot. If the valid range is shorter than
    the shapelet, a learned vector ``absent`` stands for the first two terms. The values s_j are parameters, and learn
    through W'_j s_j alone: the search has no gradient.

    Distances are computed for all starts at once, from products of Fourier transforms and prefix sums, in float64:
    in single precision the differences of large sums would move the minimum. Starts whose distances agree to 1e-9
    count as ties, of which the first is taken, so that rounding does not decide.

    Shapes: x (batch, time, channel), lo and hi (batch, channel) -> (batch, shapelet, d_model).

    Parameters
    ----------
    values : Tensor (shapelet, longest length)
        Shapelets, in the units of x; what stands behind the length is not read.
    length, channel, start : Tensor of int64 (shapelet,)
        Of each shapelet; ``start`` in the series that it comes from.
    window : int
        Steps by which a match may be shifted against ``start``.
    d_model : int
        Width of a token.
    max_factor : float, optional
        Upper bound of the quotient of complexities; 1 leaves it out. Default: none.
    freeze : bool, default=False
        Keep the shapelets as they are, and remember for every series where they match, so that the search is made
        once for each.

    References
    ----------
    .. [1] X.-M. Le, L. Luo, U. Aickelin, M.-T. Tran, "ShapeFormer: Shapelet Transformer for Multivariate Time Series
       Classification", KDD 2024, arXiv:2405.14608.
    """

    no_weight_decay = frozenset({"shapelets", "window_bias", "shapelet_bias"})
    length: Tensor
    channel: Tensor
    start: Tensor
    owner: Tensor
    offset: Tensor
    inside: Tensor
    steps: Tensor

    def __init__(
        self,
        values: Tensor,
        length: Tensor,
        channel: Tensor,
        start: Tensor,
        *,
        window: int,
        d_model: int,
        max_factor: float | None = None,
        freeze: bool = False,
    ):
        super().__init__()
        self.window, self.max_factor = window, max_factor
        n_shapelets = len(length)
        n_pieces = -(-length // PIECE)
        owner = torch.repeat_interleave(torch.arange(n_shapelets), n_pieces)
        offset = PIECE * (torch.arange(len(owner)) - (n_pieces.cumsum(0) - n_pieces)[owner])
        within = offset[:, None] + torch.arange(PIECE)
        inside = within < length[owner][:, None]
        for name, facts in {
            "length": length,
            "channel": channel,
            "start": start,
            "owner": owner,  # of each piece, its shapelet
            "offset": offset,  # of each piece, its first step in the shapelet
            "inside": inside,  # (piece, PIECE): False behind the end of the shapelet
            "steps": (within < length[owner][:, None] - 1).flatten(),  # True where the shapelet goes on for a step
        }.items():
            self.register_buffer(name, facts, persistent=False)
        # A series that reaches this far holds all windows that any shapelet asks for
        self._reach = int(torch.maximum(start - window + length, length).max())

        cut = values[owner[:, None], within.clamp(max=values.shape[1] - 1)]
        self.shapelets = nn.Parameter(torch.where(inside, cut, 0), requires_grad=not freeze)
        bound = length.double().rsqrt().to(values.dtype)
        self.window_weight, self.window_bias = self._linear(bound, d_model)
        self.shapelet_weight, self.shapelet_bias = self._linear(bound, d_model)
        self.absent = nn.Parameter(torch.zeros(d_model))
        self.of_channel = _OneHot(channel, d_model)
        self.of_start = _OneHot(start, d_model)
        self.of_end = _OneHot(start + length, d_model)
        self._remembered = _Memory() if freeze else None

    def _linear(self, bound: Tensor, d_model: int) -> tuple[nn.Parameter, nn.Parameter]:
        """Weights (piece, PIECE, d_model) and bias (shapelet, d_model) of a map per shapelet, drawn as nn.Linear's.

        Rows behind the end of a shapelet are zero, and stay so: what they are multiplied with is zero as well.
        """
        weight = torch.empty(*self.inside.shape, d_model).uniform_(-1, 1) * bound[self.owner][:, None, None]
        bias = torch.empty(len(bound), d_model).uniform_(-1, 1) * bound[:, None]
        return nn.Parameter(torch.where(self.inside[..., None], weight, 0)), nn.Parameter(bias)

    def forward(self, x: Tensor, lo: Tensor | None = None, hi: Tensor | None = None) -> Tensor:
        return self.tokens(x, self.match(x, lo, hi).start, all_fit=lo is None and x.shape[1] >= self._reach)

    def values(self) -> list[Tensor]:
        """Shapelets as they are now."""
        shapelets = self.shapelets.detach()
        return [shapelets[self.owner == j].flatten()[:n] for j, n in enumerate(self.length.tolist())]

    @torch.no_grad()
    def match(self, x: Tensor, lo: Tensor | None = None, hi: Tensor | None = None) -> ShapeletMatch:
        """Find the best window of every shapelet.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel)
            Series without gaps, 0 outside the valid range.
        lo, hi : Tensor of int64, shape (batch, channel), optional
            Valid range of each channel, half-open; default all.

        Returns
        -------
        ShapeletMatch
            ``start`` and ``distance``, both (batch, shapelet).
        """
        series = x.transpose(1, 2)
        if lo is None or hi is None:
            whole = True
            lo = torch.zeros(1, series.shape[1], dtype=torch.int64, device=x.device)
            hi = lo + series.shape[2]
        else:
            whole = False
        if self._remembered is None or torch.compiler.is_compiling():
            return self._search(series, lo, hi, whole)
        cases = (series, lo.expand(len(x), -1), hi.expand(len(x), -1))
        return self._remembered.get(self.shapelets, cases, functools.partial(self._search, whole=whole))

    def _search(self, series: Tensor, lo: Tensor, hi: Tensor, whole: bool) -> ShapeletMatch:
        n_timepoints = series.shape[2]
        lo, latest = lo[:, self.channel], hi[:, self.channel] - self.length
        low, high = lo.maximum(self.start - self.window), latest.minimum(self.start + self.window)
        everywhere = not (whole and n_timepoints >= self._reach)
        if everywhere:
            none_fits = low > high
            low, high = torch.where(none_fits, lo, low), torch.where(none_fits, latest, high)
            # asking the data would break a compiled graph
            everywhere = torch.compiler.is_compiling() or bool((none_fits & (low <= high)).any())
        first = torch.zeros_like(self.start) if everywhere else (self.start - self.window).clamp(min=0)
        n_starts = n_timepoints if everywhere else min(2 * self.window + 1, n_timepoints)
        low, high = (bound.expand(len(series), -1) for bound in (low - first, high - first))
        if torch.compiler.is_compiling():
            return self._nearest(series, first, n_starts, low, high)
        n_cases = max(1, CHUNK // (n_timepoints * len(self.start)))
        found = [
            self._nearest(part, first, n_starts, *bounds)
            for part, *bounds in zip(series.split(n_cases), low.split(n_cases), high.split(n_cases), strict=True)
        ]
        return found[0] if len(found) == 1 else ShapeletMatch(*(torch.cat(t) for t in zip(*found, strict=True)))

    def _nearest(self, series: Tensor, first: Tensor, n_starts: int, low: Tensor, high: Tensor) -> ShapeletMatch:
        """Best of the starts ``first + low`` to ``first + high``, of which there are at most ``n_starts``."""
        squared, norm = self._squared_distances(series.double(), first, n_starts)
        shift = torch.arange(n_starts, device=series.device)
        squared = torch.where((shift >= low[..., None]) & (shift <= high[..., None]), squared, torch.inf)
        best = squared.amin(2, keepdim=True)
        near = squared <= best + TIE * (best + norm + 1)
        start = near.to(torch.uint8).argmax(2)  # the first of them
        absent = low > high
        return ShapeletMatch(torch.where(absent, -1, start + first), best.squeeze(2).sqrt())

    def _squared_distances(self, series: Tensor, first: Tensor, n_starts: int) -> tuple[Tensor, Tensor]:
        """From windows that start at ``first``, ``first`` + 1, ...: (batch, shapelet, n_starts); and norms (., 1)."""
        shapelets = self.shapelets.double()
        norm = self._sum_of_pieces(shapelets.square().sum(1))[:, None]
        flat = shapelets.flatten()
        change = torch.where(self.steps[:-1], flat.diff().square(), 0)
        change = nn.functional.pad(change, (0, 1)).view_as(shapelets)
        complexity = self._sum_of_pieces(change.sum(1))[:, None] + COMPLEXITY_FLOOR

        def over_windows(quantity: Tensor, shorter: int) -> Tensor:
            """Sum of a quantity over the windows, less its last ``shorter`` terms."""
            sums = nn.functional.pad(quantity.cumsum(2), (1, n_starts))
            rows = sums.unfold(2, n_starts, 1)  # (batch, channel, start, n_starts), a view
            begin, end = (t.clamp(max=rows.shape[2] - 1) for t in (first, first + self.length - shorter))
            return rows[:, self.channel, end] - rows[:, self.channel, begin]  # wrong only where no window fits

        steps = series.diff(dim=2).square()
        squared = over_windows(series.square(), 0).sub_(self._products(series, first, n_starts), alpha=2)
        squared = squared.add_(norm).clamp_(min=0)
        found = over_windows(nn.functional.pad(steps, (0, 1)), 1).clamp_(min=0).add_(COMPLEXITY_FLOOR)
        factor = found.maximum(complexity).div_(found.minimum(complexity))
        if self.max_factor is not None:
            factor = factor.clamp_(max=self.max_factor)
        return squared.mul_(factor), norm

    def _products(self, series: Tensor, first: Tensor, n_starts: int) -> Tensor:
        """Scalar products of shapelets and windows, as a circular correlation: no valid window reaches around.

        Each shapelet stands at ``first`` on its circle, so that the products wanted are the first of the result.
        """
        n_fft = _fast_length(series.shape[2])
        at = (first[self.owner] + self.offset)[:, None] + torch.arange(PIECE, device=series.device)
        at = at % n_fft + n_fft * self.owner[:, None]
        circles = series.new_zeros(len(first) * n_fft)
        circles = circles.scatter_add_(0, at.flatten(), self.shapelets.double().flatten()).view(-1, n_fft)
        spectrum = torch.fft.rfft(series, n_fft)[:, self.channel] * torch.fft.rfft(circles).conj()
        return torch.fft.irfft(spectrum, n_fft)[..., :n_starts]

    def _sum_of_pieces(self, terms: Tensor) -> Tensor:
        """Of terms (piece, ...) for each shapelet."""
        return terms.new_zeros(len(self.length), *terms.shape[1:]).index_add(0, self.owner, terms)

    def tokens(self, x: Tensor, start: Tensor, *, all_fit: bool = False) -> Tensor:
        """Tokens (batch, shapelet, d_model) of series x (batch, time, channel) that match at ``start``.

        If it is known that ``all_fit``, that no start is -1, a little work is saved.
        """
        windows = nn.functional.pad(x.transpose(1, 2), (0, PIECE)).unfold(2, PIECE, 1)
        at = (start.mT[self.owner] + self.offset[:, None]).clamp(min=0, max=windows.shape[2] - 1)
        cases = torch.arange(len(x), device=x.device)
        windows = windows[cases, self.channel[self.owner][:, None], at]  # (piece, batch, PIECE)
        windows = torch.where(self.inside[:, None], windows, 0)
        content = self._sum_of_pieces(torch.bmm(windows, self.window_weight)) + self.window_bias[:, None]
        if all_fit:
            content = keep_in_graph(content, self.absent)
        else:
            content = torch.where((start < 0).mT[..., None], self.absent.to(content.dtype), content)
        own = self._sum_of_pieces(torch.bmm(self.shapelets[:, None], self.shapelet_weight)).squeeze(1)
        place = self.of_channel() + self.of_start() + self.of_end()
        return (content + (place - own - self.shapelet_bias)[:, None]).transpose(0, 1)


class _OneHot(nn.Module):
    """Linear map of one-hot vectors of fixed indices: the rows of the weight that they pick, plus the bias."""

    no_weight_decay = frozenset({"weight"})
    index: Tensor

    def __init__(self, index: Tensor, n_outputs: int):
        super().__init__()
        self.register_buffer("index", index, persistent=False)
        n_inputs = int(index.max()) + 1
        bound = 1 / math.sqrt(n_inputs)
        self.weight = nn.Parameter(torch.empty(n_inputs, n_outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_outputs).uniform_(-bound, bound))

    def forward(self) -> Tensor:
        return nn.functional.embedding(self.index, self.weight) + self.bias


class _Memory:
    """Where the cases of a training set match, by what they hold; forgotten when the shapelets change."""

    MOST = 1 << 16  # cases; if there are more, as with random augmentation, remembering does not pay

    def __init__(self):
        self._known: dict[bytes, tuple[Tensor, Tensor]] = {}
        self._shapelets: tuple | None = None

    def __reduce__(self) -> tuple:
        return type(self), ()  # copies and files hold a model, not all series that it was ever shown

    def get(self, shapelets: Tensor, cases: tuple[Tensor, ...], search: Callable[..., ShapeletMatch]) -> ShapeletMatch:
        """Matches of cases, given as tensors over them; ``search`` makes those that are not known."""
        state = (shapelets._version, shapelets.data_ptr(), shapelets.dtype)
        if state != self._shapelets or len(self._known) > self.MOST:
            self._known, self._shapelets = {}, state
        keys = _digests(cases)
        new = [i for i, key in enumerate(keys) if key not in self._known]
        if new:
            for i, start, distance in zip(new, *search(*(t[new] for t in cases)), strict=True):
                self._known[keys[i]] = start.cpu(), distance.cpu()
        found = zip(*(self._known[key] for key in keys), strict=True)
        return ShapeletMatch(*(torch.stack(rows).to(shapelets.device) for rows in found))


def _digests(cases: tuple[Tensor, ...]) -> list[bytes]:
    arrays = [t.contiguous().cpu().numpy() for t in cases]
    digests = []
    for i in range(len(arrays[0])):
        digest = hashlib.blake2b(digest_size=16)
        for array in arrays:
            digest.update(f"{array.shape[1:]} {array.dtype}".encode())
            digest.update(array[i])
        digests.append(digest.digest())
    return digests


def _fast_length(n: int) -> int:
    """Return the smallest even length, at least n, without prime factors above 5: transforms of it are fast."""
    length = n + n % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
