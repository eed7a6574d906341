"""The generic classifier: a network with its task, datamodule and Trainer behind sktime's interface."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sktime.classification.base import BaseClassifier
from torch import nn

from tsmodels.estimators._applying import applied
from tsmodels.estimators._net import KeepsContext, NetEstimator
from tsmodels.estimators._training import (
    TRAINING,
    Argument,
    check_training,
    draw_seed,
    isolated,
    require_finite,
    resolve_device,
    train,
)
from tsmodels.models._prepared import PreparedNetwork
from tsmodels.tasks._inputs import accepted_inputs

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from tsmodels_datamodules import Panel

__all__ = ["CLASSIFICATION", "NetClassifier"]

CLASSIFICATION: dict[str, Argument] = {
    "scaling": Argument(
        "standard",
        '"standard" or "none"',
        '"standard" brings each channel to mean 0 and standard deviation 1, by the observed values of the training '
        "cases; validation cases do not count.",
    ),
    "class_weight": Argument(
        None,
        'dict, "balanced" or None',
        'Weight of each class in the loss: a dict from label to weight, or "balanced" for weights inverse to the '
        "number of cases of the class. None: all 1.",
    ),
    "label_smoothing": Argument(0.0, "float", "Share of each target that is spread over all classes, in [0, 1]."),
}

# of max_epochs="auto": archive sets have down to a dozen cases, of which a few passes are a few dozen steps
AUTO_EPOCHS, AUTO_STEPS = 20, 200


class NetClassifier(NetEstimator, KeepsContext, BaseClassifier):
    """A network as an sktime classifier; ``classifier(network_class)`` makes the concrete classes.

    Subclasses have an ``__init__`` whose arguments are the keyword-only arguments of the network, ``CLASSIFICATION``
    and ``TRAINING``.

    Attributes
    ----------
    network_ : nn.Module
        The trained network, on the CPU, in eval mode. It takes scaled series (batch, time, channel).
    scaler_ : PanelScaler
        Fitted on the training cases.
    history_ : dict
        ``epochs``, ``best_epoch`` and ``best_value`` (None without validation) and ``curves``, lists by epoch; of a
        network that looks at the training cases first, ``preparation_seconds``.
    n_channels_, n_timepoints_ : int
        Of the training cases, ``n_timepoints_`` being the longest.
    n_parameters_ : int
        Number of trainable parameters of the network.
    """

    _tags = {
        "authors": ["tsmodels developers"],
        "maintainers": ["tsmodels developers"],
        "python_dependencies": ["torch", "lightning"],
        "X_inner_mtype": "numpy3D",
        "y_inner_mtype": "numpy1D",
        "capability:multivariate": True,
        "capability:predict_proba": True,
        "capability:class_weight": True,
        "capability:categorical_in_X": False,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }

    scaling: str
    class_weight: Any
    label_smoothing: float
    max_epochs: Any
    batch_size: int
    lr: float
    val_fraction: float | None
    accelerator: str
    devices: Any
    random_state: Any

    if TYPE_CHECKING:  # the signatures are made at run time; sktime forbids **kwargs there

        def __init__(self, **parameters: Any) -> None: ...

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn's searches and cross-validation that this is a classifier of 3-D arrays."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(three_d_array=True, allow_nan=bool(self.get_tag("capability:missing_values"))),
        )

    def _fit(self, X: Any, y: np.ndarray) -> "NetClassifier":
        training = {name: getattr(self, name) for name in TRAINING}
        if isinstance(self.max_epochs, str) and self.max_epochs != "auto":
            raise ValueError(f'max_epochs must be a positive integer or "auto", got {self.max_epochs!r}')
        check_training(training | ({"max_epochs": AUTO_EPOCHS} if self.max_epochs == "auto" else {}))
        device = resolve_device(self.accelerator, self.devices)
        class_weight = _weight_per_class(self.class_weight, np.asarray(self.classes_), y)

        # they import Lightning, which takes seconds: only who fits waits for it
        from tsmodels.tasks import ClassificationTask
        from tsmodels_datamodules import PanelDataModule

        seed = draw_seed(self.random_state)
        data = PanelDataModule(
            X,
            y,
            val_fraction=self.val_fraction,
            batch_size=self.batch_size,
            scaling=self.scaling,
            missing=self._missing_policy(),
            seed=seed,
        )
        if self.max_epochs == "auto":
            training["max_epochs"] = max(AUTO_EPOCHS, math.ceil(AUTO_STEPS / len(data.train_dataloader())))
        with isolated(seed, device):
            network = self._make_network(data.n_channels, data.n_timepoints)
            task = ClassificationTask(
                network,
                n_classes=self.n_classes_,
                lr=self.lr,
                class_weight=class_weight,
                label_smoothing=self.label_smoothing,
            )
            history = train(task, data, training, device)
        require_finite(network, self.lr)
        if isinstance(network, PreparedNetwork):
            history["preparation_seconds"] = network.preparation_seconds
        self.history_, self.scaler_ = history, data.scaler
        self.n_channels_, self.n_timepoints_ = data.n_channels, data.n_timepoints
        self.n_parameters_ = sum(each.numel() for each in network.parameters() if each.requires_grad)
        self.network_ = network.cpu().eval()
        return self

    def _make_network(self, n_channels: int, n_timepoints: int) -> nn.Module:
        return self._network_class(n_channels, n_timepoints, self.n_classes_, **self._choices())

    def _missing_policy(self) -> str:
        # a network without `mask` never sees NaN: sktime refuses it by the tag capability:missing_values
        return "zero" if "mask" in accepted_inputs(self._network_class) else "error"

    def _predict_proba(self, X: Any) -> np.ndarray:
        device = resolve_device(self.accelerator, self.devices)
        logits = applied(self.network_, self._batches(X), device)
        return logits.double().softmax(1).numpy()

    def _batches(self, X: Any) -> "DataLoader":
        """New cases as the network expects them, in their order."""
        from tsmodels_datamodules import PanelDataset, panel_loader

        dataset = PanelDataset(self._read(X), with_mask="mask" in accepted_inputs(self._network_class))
        return panel_loader(dataset, self.batch_size)

    def _read(self, X: Any) -> "Panel":
        """Return new cases as the network expects them: checked, scaled, and padded where it has a fixed length."""
        from tsmodels_datamodules import apply_missing, to_panel

        panel = to_panel(X)
        if panel.n_channels != self.n_channels_:
            raise ValueError(
                f"X has {panel.n_channels} channels, but {type(self).__name__} was fitted on {self.n_channels_}: pass "
                "the same channels in the same order"
            )
        panel = apply_missing(panel, self._missing_policy())
        if not getattr(self._network_class, "accepts_any_length", False):
            panel = self._with_training_length(panel)
        return self.scaler_.transform(panel)

    def _with_training_length(self, panel: "Panel") -> "Panel":
        longest, trained = panel.n_timepoints, self.n_timepoints_
        shorter_is_fine = "lengths" in accepted_inputs(self._network_class)
        if longest > trained or (longest < trained and not shorter_is_fine):
            raise ValueError(
                f"X has series of length {longest}, but {type(self).__name__} was fitted on length {trained} and its "
                f"network, {self._network_class.__name__}, is bound to it: cut or resample X to {trained} time points"
            )
        return panel.pad_to(trained)


def _weight_per_class(class_weight: Any, classes: np.ndarray, y: np.ndarray) -> list[float] | None:
    if class_weight is None:
        return None
    if class_weight != "balanced" and not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be None, 'balanced' or a dict from label to weight, got {class_weight!r}")
    if isinstance(class_weight, Mapping) and set(class_weight) != set(classes.tolist()):
        raise ValueError(f"class_weight has the labels {list(class_weight)}, but y has {classes.tolist()}")
    from sklearn.utils import compute_class_weight

    return compute_class_weight(class_weight, classes=classes, y=y).tolist()
