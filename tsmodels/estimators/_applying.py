"""A trained network applied to batches, on the device of an estimator. Imports no Lightning."""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from tsmodels.tasks._inputs import accepted_inputs, call_network

__all__ = ["applied", "outputs_of"]


def applied(network: nn.Module, batches: Iterable[Mapping[str, Tensor]], device: torch.device) -> Tensor:
    """Return what a network makes of batches, joined along the first axis, on the CPU.

    Parameters
    ----------
    network : nn.Module
        On the CPU, in eval mode; it stays there, a copy of it goes to another device.
    batches : iterable of mapping
        Tensors by name; those that the network does not know of (targets) are left alone.
    device : torch.device
        From ``resolve_device``.

    Returns
    -------
    Tensor
        In the dtype that the network computes in.
    """
    (outputs,) = outputs_of(network, batches, device)
    return outputs


def outputs_of(
    network: nn.Module, batches: Iterable[Mapping[str, Tensor]], device: torch.device, method: str = "forward"
) -> tuple[Tensor, ...]:
    """Return the outputs of a method of a network that gives one tensor or a tuple of them, each as :func:`applied`."""
    accepted = accepted_inputs(network)
    moved = network if device.type == "cpu" else copy.deepcopy(network).to(device)
    dtype = next((each.dtype for each in network.parameters() if each.is_floating_point()), torch.float32)
    outputs = []
    with torch.inference_mode():
        for batch in batches:
            there = {name: t.to(device, dtype if t.is_floating_point() else None) for name, t in batch.items()}
            made = call_network(moved, accepted, there, method)
            outputs.append([each.cpu() for each in (made if isinstance(made, tuple) else (made,))])
    return tuple(torch.cat(parts) for parts in zip(*outputs, strict=True))
