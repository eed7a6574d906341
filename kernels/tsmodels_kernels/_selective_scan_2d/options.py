"""The choices of the two-axis scan that are not tensors."""

from typing import NamedTuple

GATES = ("zoh", "literal", "half")
INPUT_RULES = ("euler", "zoh")
COUPLINGS = ("full", "t2v", "v2t", "none", "pooled")


class Options(NamedTuple):
    """One setting of the operator; every backend reads the same derived numbers."""

    gates: str = "zoh"
    input_rule: str = "euler"
    coupling: str = "full"
    reverse_v: bool = False

    @property
    def gate_scale(self) -> float:
        """Factor on all four exponential gates."""
        return 0.5 if self.gates == "half" else 1.0

    @property
    def cross2(self) -> float:
        """1 if the variate state feeds the time state (a2), else 0."""
        return float(self.coupling not in ("t2v", "none"))

    @property
    def cross3(self) -> float:
        """1 if the time state feeds the variate state (a3), else 0."""
        return float(self.coupling not in ("v2t", "none"))

    def check(self) -> None:
        """Raise ValueError if a choice does not exist or does not combine with another."""
        for name, value, allowed in (
            ("gates", self.gates, GATES),
            ("input_rule", self.input_rule, INPUT_RULES),
            ("coupling", self.coupling, COUPLINGS),
        ):
            if value not in allowed:
                raise ValueError(
                    f"selective_scan_2d: {name} must be one of {', '.join(map(repr, allowed))}; got {value!r}"
                )
        if self.coupling == "pooled" and self.reverse_v:
            raise ValueError("selective_scan_2d: coupling='pooled' has no order of variates; use reverse_v=False")


# Numbers that a backward thread on a GPU keeps of an interval: 264 blocks of 256 threads with 150 float32 fill 40 of
# the 50 MB of a second-level cache.
_KEPT_NUMBERS = 150


def default_cuda_interval(T: int, V: int) -> int:
    """Steps between stored column states on a GPU: as many as its cache holds, at least sqrt(T) to bound the memory.

    It stands here, and not beside the kernels, because ``torch.compile`` traces the call of it.
    """
    return max(1, min(T, max(int(T**0.5), _KEPT_NUMBERS // (2 * V + 1) - 1)))
