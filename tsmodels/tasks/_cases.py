"""The training cases of a run, all at once, for networks that look at them before training."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

__all__ = ["training_cases"]

_KEYS = ("x", "y", "lengths", "mask")


def training_cases(trainer: Any, network: nn.Module) -> dict[str, Tensor]:
    """Return the training part of a run's datamodule.

    Parameters
    ----------
    trainer : lightning.pytorch.Trainer
        In the setup of a fit.
    network : nn.Module
        The network that asks; for the message.

    Returns
    -------
    dict of str to Tensor
        ``x`` and ``y``, and where the batches hold them ``lengths`` and ``mask``, in the order of the dataset: neither
        the order of a shuffling loader nor its generator has a part in it.

    Raises
    ------
    ValueError
        If the run has no datamodule, or its training data are no single loader over a dataset with a length.
    """
    datamodule = getattr(trainer, "datamodule", None)
    loader = None if datamodule is None else datamodule.train_dataloader()
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, torch.utils.data.IterableDataset):
        raise ValueError(
            f"{type(network).__name__} looks at the training cases before it is trained, and finds them in a "
            "datamodule whose train_dataloader is one DataLoader: pass trainer.fit(task, datamodule=...), or call "
            "network.prepare(x, y) with the training cases yourself"
        )
    in_order = DataLoader(
        loader.dataset, batch_size=loader.batch_size or 1, collate_fn=loader.collate_fn, generator=torch.Generator()
    )
    batches = list(in_order)
    return {name: torch.cat([batch[name] for batch in batches]) for name in _KEYS if name in batches[0]}
