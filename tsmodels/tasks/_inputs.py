"""Which parts of a batch a network takes: read once from the signature of its ``forward``."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["OPTIONAL_INPUTS", "accepted_inputs", "call_network"]

OPTIONAL_INPUTS = ("lengths", "mask", "exog", "past", "static")
_REMEDY = {
    "lengths": "the series are of unequal length; cut, pad or resample them to one length, or use a network whose "
    "forward takes `lengths`",
    "mask": "missing values were marked; fill them with missing='interpolate', or use a network whose forward takes "
    "`mask`",
    "exog": "leave out covariates that are known ahead, or use a network whose forward takes `exog`",
    "past": "leave out covariates that are known up to now, or use a network whose forward takes `past`",
    "static": "leave out static features, or use a network whose forward takes `static`",
}


def accepted_inputs(network: nn.Module | type[nn.Module]) -> frozenset[str]:
    """Return the optional inputs that ``forward`` of a network takes.

    Parameters
    ----------
    network : nn.Module or type of nn.Module
        Network or its class.

    Returns
    -------
    frozenset of str
        Subset of ``OPTIONAL_INPUTS``. A ``forward`` with ``**kwargs`` (a compiled or wrapped network) takes all.
    """
    parameters = inspect.signature(network.forward).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return frozenset(OPTIONAL_INPUTS)
    return frozenset(OPTIONAL_INPUTS).intersection(parameters)


def call_network(
    network: nn.Module, accepted: frozenset[str], batch: Mapping[str, Tensor], method: str = "forward"
) -> Any:
    """Apply a network to a batch, with the optional inputs the batch holds.

    Parameters
    ----------
    network : nn.Module
        Network with ``forward(x, ...)`` and any of ``OPTIONAL_INPUTS`` as further arguments.
    accepted : frozenset of str
        ``accepted_inputs(network)``.
    batch : mapping of str to Tensor
        ``x`` (batch, time, channel), and where present ``lengths`` (batch,), ``mask`` like ``x`` and covariates. Other
        keys are not looked at.
    method : str, default="forward"
        Another method of the network to call, with the same arguments.

    Returns
    -------
    Tensor
        What the network returns.

    Raises
    ------
    ValueError
        If the batch holds an input that the network does not take: padding would be read as data.
    """
    extras = {name: batch[name] for name in OPTIONAL_INPUTS if name in batch}
    for name in extras:
        if name not in accepted:
            raise ValueError(
                f"the batch holds `{name}`, which {type(network).__name__}.forward does not take: {_REMEDY[name]}"
            )
    call = network if method == "forward" else getattr(network, method)  # only the former runs hooks
    return call(batch["x"], **extras)
