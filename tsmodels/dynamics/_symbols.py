"""Orbits as sequences of symbols, one for each region of states in which the map is affine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsmodels.dynamics._networks import PiecewiseMap

if TYPE_CHECKING:
    from tsmodels.models import PLRNN

__all__ = [
    "MOST_NUMBERED_BITS",
    "TransitionGraph",
    "all_patterns",
    "run_lengths",
    "switch_rate",
    "symbols",
    "transition_graph",
]

MOST_NUMBERED_BITS = 12  # up to which all patterns are numbered
_CHUNK = 1 << 24  # bits of patterns held at once


def all_patterns(n_bits: int) -> np.ndarray:
    """All patterns (2 ** n_bits, n_bits); bit i of the number of a row is its column i."""
    return (np.arange(2**n_bits)[:, None] >> np.arange(n_bits) & 1).astype(bool)


def symbols(network: PLRNN, states) -> tuple[np.ndarray, np.ndarray]:
    """Code of the region in which each state lies, and which ReLUs are active there.

    Parameters
    ----------
    network : PLRNN
        Of any cell.
    states : array (time, latent_dim)
        Latent states, as from ``network.states``.

    Returns
    -------
    codes : ndarray of int64 (time,)
        Rows of the table.
    table : ndarray of bool (region, bit)
        ``table[codes]`` are the patterns of the states, with the bits of :func:`tsmodels_kernels.plrnn_pattern`. Up to
        12 bits it has all patterns, and codes are Σ bit_i 2^i, the same for all orbits of a network; beyond, it has
        those that occur, in the order of their first occurrence.

    Raises
    ------
    ValueError
        If the states have another dimension than the network or values that are not finite.
    """
    map_ = PiecewiseMap(network)
    z = map_.states("states", states)
    n_bits = map_.n_bits
    if n_bits <= MOST_NUMBERED_BITS:
        codes = map_.pattern(z).numpy().astype(np.int64) @ (1 << np.arange(n_bits))
        return codes, all_patterns(n_bits)
    n_rows = max(1, _CHUNK // n_bits)
    packed = np.concatenate([np.packbits(map_.pattern(part).numpy(), axis=1) for part in z.split(n_rows)])
    # a row as one value sorts faster than its bytes
    rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    table = np.unpackbits(packed[np.sort(first)], axis=1, count=n_bits).astype(bool)
    return rank[inverse].astype(np.int64), table


def run_lengths(codes) -> np.ndarray:
    """Lengths of the stretches in which an orbit stays in one region.

    Parameters
    ----------
    codes : array of int (time,)
        From :func:`symbols`.

    Returns
    -------
    ndarray of int64 (stretch,)
        In the order of time; the first and the last may be cut by the ends of the orbit. Their sum is the length.

    Raises
    ------
    ValueError
        If there are no codes, or they are not a vector of integers.
    """
    codes = _codes(codes)
    changes = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    return np.diff(np.concatenate([[0], changes, [len(codes)]]))


def switch_rate(codes) -> float:
    """Share of the steps of an orbit that lead to another region.

    Parameters
    ----------
    codes : array of int (time,)
        From :func:`symbols`, at least two.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If there are fewer than two codes, or they are not a vector of integers.
    """
    codes = _codes(codes, at_least=2)
    return float((codes[1:] != codes[:-1]).mean())


@dataclass(frozen=True)
class TransitionGraph:
    """Which regions follow one another.

    Attributes
    ----------
    nodes : ndarray of int64 (node,)
        Codes of the regions that occur, ascending.
    edges : ndarray of int64 (edge, 2)
        From and to, as positions in ``nodes``; those to themselves are among them.
    weights : ndarray (edge,)
        Of each edge.
    """

    nodes: np.ndarray
    edges: np.ndarray
    weights: np.ndarray

    def matrix(self) -> np.ndarray:
        """Weights as an array (node, node), from the row to the column; 0 without an edge."""
        matrix = np.zeros((len(self.nodes), len(self.nodes)))
        matrix[self.edges[:, 0], self.edges[:, 1]] = self.weights
        return matrix


def transition_graph(codes, kind: str = "geometric") -> TransitionGraph:
    """Graph of the transitions between the regions of an orbit.

    Parameters
    ----------
    codes : array of int (time,)
        From :func:`symbols`, at least two.
    kind : {"geometric", "topological"}, default="geometric"
        "geometric": an edge weighs the share of all transitions that take it, count / (time - 1). "topological": every
        edge weighs 1.

    Returns
    -------
    TransitionGraph
        Edges in the order of their nodes.

    Raises
    ------
    ValueError
        If `kind` is unknown, there are fewer than two codes, or they are not a vector of integers.

    Notes
    -----
    After Brenner et al. (arXiv 2410.14240).

    Examples
    --------
    >>> from tsmodels.dynamics import transition_graph
    >>> transition_graph([3, 3, 5, 3, 3]).matrix()
    array([[0.5 , 0.25],
           [0.25, 0.  ]])
    """
    if kind not in ("geometric", "topological"):
        raise ValueError(f"kind must be 'geometric' or 'topological', got {kind!r}.")
    nodes, positions = np.unique(_codes(codes, at_least=2), return_inverse=True)
    pairs, counts = np.unique(positions[:-1] * len(nodes) + positions[1:], return_counts=True)
    edges = np.stack(np.divmod(pairs, len(nodes)), axis=1)
    weights = counts / counts.sum() if kind == "geometric" else np.ones(len(counts))
    return TransitionGraph(nodes, edges, weights)


def _codes(codes: Any, at_least: int = 1) -> np.ndarray:
    array = np.asarray(codes)
    if array.ndim != 1 or len(array) < at_least or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"codes must be a vector of at least {at_least} integers, as from symbols(network, states)[0]; "
            f"got shape {array.shape}, dtype {array.dtype}."
        )
    return array.astype(np.int64)
