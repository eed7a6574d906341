"""A trained network applied to batches, on the device of an estimator. Imports no Lightning."""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from tsmodels.tasks._inputs import accepted_inputs, call_network

__all__ = ["applied"]


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
    accepted = accepted_inputs(network)
    moved = network if device.type == "cpu" else copy.deepcopy(network).to(device)
    dtype = next((each.dtype for each in network.parameters() if each.is_floating_point()), torch.float32)
    outputs = []
    with torch.inference_mode():
        for batch in batches:
            there = {name: t.to(device, dtype if t.is_floating_point() else None) for name, t in batch.items()}
            outputs.append(call_network(moved, accepted, there).cpu())
    return torch.cat(outputs)
