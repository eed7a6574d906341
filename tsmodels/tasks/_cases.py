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
        the order of a shuffling loader nor its generator has a part in it. Batches that are padded to lengths of their
        own are padded to the longest.

    Raises
    ------
    ValueError
        If the run has no datamodule, its training data are no single loader over a dataset with a length, or batches
        differ in time points and do not tell ``lengths``.
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
    n_timepoints = {batch["x"].shape[1] for batch in batches}
    if len(n_timepoints) > 1:
        if "lengths" not in batches[0]:
            raise ValueError(
                f"the batches of the train_dataloader have {min(n_timepoints)} to {max(n_timepoints)} time points: "
                f"give them lengths too, or {type(network).__name__} would take padding for values"
            )
        batches = [_padded(batch, max(n_timepoints)) for batch in batches]
    return {name: torch.cat([batch[name] for batch in batches]) for name in _KEYS if name in batches[0]}


def _padded(batch: dict[str, Tensor], n_timepoints: int) -> dict[str, Tensor]:
    behind = (0, 0, 0, n_timepoints - batch["x"].shape[1])
    return batch | {name: nn.functional.pad(batch[name], behind) for name in ("x", "mask") if name in batch}
