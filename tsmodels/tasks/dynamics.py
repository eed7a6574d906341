"""The dynamics task: a network learns a map whose free-running orbits are those of an observed system."""

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tsmodels.dynamics.measures import evaluate_reconstruction
from tsmodels.models import PLRNN
from tsmodels.tasks._base import NetTask
from tsmodels.tasks._dynamics_alpha import ALPHA_METHODS, annealed, estimate_alpha, sparse_alpha
from tsmodels.tasks._dynamics_optim import EPOCH_SCHEDULES, FlatRAdam, epoch_schedule
from tsmodels.tasks._dynamics_penalties import Penalties
from tsmodels.tasks._dynamics_presets import DYNAMICS_PRESETS, Preset
from tsmodels.tasks._optim import OptimizerFactory, ScheduleFactory, make_optimizer

__all__ = ["DYNAMICS_PRESETS", "DynamicsTask", "Preset"]

SEED_STRIDE = 1_000_003  # from the noise of one epoch to that of the next
FORCINGS = ("gtf", "adaptive", "annealed", "sparse", "free")


class DynamicsTask(NetTask):
    """Train a piecewise-linear network on windows that force it, and measure what it does when it runs freely.

    A training batch is a dict of tensors: ``x`` (batch, T + 1, channel), scaled windows; ``s`` (batch, T, n_inputs) for
    a network with external inputs, s[:, t] entering the step that produces x[:, t + 1]; and ``signal`` like ``x`` for a
    filtered observation, the deconvolved windows that force. The loss is the mean squared error of the states before
    they are forced. A validation or test batch is one whole series, ``x`` (1, n, channel), ``s`` (1, n - 1,
    n_inputs) and ``signal`` likewise.

    Logged once per epoch: ``train/loss``, ``train/alpha`` (mean strength of the forcing), ``train/skipped`` (steps
    without a finite gradient, which change nothing); in validation ``val/d_stsp``, ``val/d_h``, ``val/pe_20``,
    ``val/lyapunov_max`` (per step) and ``val/divergent`` (1 if the free run left all bounds; the measures are then
    NaN), see :func:`tsmodels.dynamics.evaluate_reconstruction`; in a test ``test/...`` likewise.

    Parameters
    ----------
    network : PLRNN
        The network.
    forcing : str, default="gtf"
        "gtf": generalised teacher forcing, z + alpha (d - z) after each step with one ``alpha``. "adaptive": the same
        with an alpha that begins at 1 and follows what the Jacobians along the data ask for. "annealed": from ``alpha``
        to ``alpha_end``, linearly over the epochs. "sparse": alpha = 1 at every ``forcing_interval``-th step, else 0.
        "free": none, the windows bound how far gradients reach.
    alpha : float, default=0.15
        Strength of "gtf", first one of "annealed", in [0, 1].
    alpha_end : float, default=0.05
        Last strength of "annealed", in [0, 1].
    alpha_method : str, default="product"
        What "adaptive" takes as the size of Jacobians along a batch, alpha = max(0, 1 - 1 / size). "product": the
        largest, over the sequences, of the geometric mean of their spectral norms; "batch_max": their maximum;
        "mean_jacobian": the largest spectral norm of the mean over a sequence; "norm_bound":
        ``max|A| + ||W1|| ||W2||``, for shallow cells.
    alpha_decay : float, default=0.999
        Share of alpha that an estimate below it leaves; an estimate above it is taken at once. With 50 batches in an
        epoch alpha halves in about 70 epochs; use 0.99 in short runs.
    alpha_every : int, default=5
        Batches from one estimate to the next.
    forcing_interval : int, default=16
        Steps from one forcing to the next of "sparse".
    lr, lr_end : float, default=1e-3, 1e-5
        Learning rate at the start and at the end. The end must be cold: 1e-4 leaves free runs that have settled into a
        fixed point, which neither loss nor prediction error shows.
    optimizer : str or callable, default="radam"
        As in :class:`~tsmodels.tasks.ClassificationTask`, without weight decay.
    schedule : str or callable, default="exponential"
        "exponential": by one factor each epoch, from ``lr`` to ``lr_end``; "milestones": a tenth at 10, 80 and 90 % of
        the epochs; "constant"; or a callable that makes a scheduler from the optimiser, stepped once per epoch.
    gradient_clip : float, default=0.0
        Largest norm of the gradient; 0 is any. The Trainer's own clipping is not used here.
    noise : float, default=0.0
        Standard deviation of the noise that is added to the whole window each time it is drawn.
    l2 : float, default=0.0
        Times ``||1 - A||^2`` and the squares of the other weights and biases of the map.
    manifold, manifold_fraction : float, default=0.0, 0.5
        Times ``||1 - A_r|| + ||W_r|| + ||h_r||`` for the last units r, this share of all.
    linearity : float, default=0.0
        Times ``||relu(A + diag W - 0.05)||``, for ``cell="alrnn"``.
    observation_penalty : float, default=0.0
        Times ``(1 - s_max / s_min)^2`` of the singular values of B, for ``observation="linear"``.
    n_ahead : int, default=20
        Steps of the prediction error ``val/pe_<n_ahead>``.
    max_skipped : int, default=50
        Training steps in a row that may be skipped.
    seed : int, default=0
        Of the noise and of the measures that draw.

    Raises
    ------
    TypeError
        If ``network`` is no ``PLRNN``.
    ValueError
        If an argument is out of range, or does not fit the network.
    FloatingPointError
        During training, when more than ``max_skipped`` steps in a row had no finite gradient.

    Examples
    --------
    >>> import torch
    >>> from tsmodels.models import PLRNN
    >>> from tsmodels.tasks import DYNAMICS_PRESETS, DynamicsTask
    >>> preset = DYNAMICS_PRESETS["quick"]
    >>> task = DynamicsTask(PLRNN(3, **preset.network), **preset.task)
    >>> task(torch.zeros(2, 201, 3)).shape  # predictions of all steps but the first
    torch.Size([2, 200, 3])
    """

    schedules = ("constant", *EPOCH_SCHEDULES)
    network: PLRNN
    alpha: Tensor

    def __init__(
        self,
        network: PLRNN,
        *,
        forcing: str = "gtf",
        alpha: float = 0.15,
        alpha_end: float = 0.05,
        alpha_method: str = "product",
        alpha_decay: float = 0.999,
        alpha_every: int = 5,
        forcing_interval: int = 16,
        lr: float = 1e-3,
        lr_end: float = 1e-5,
        optimizer: str | OptimizerFactory = "radam",
        schedule: str | ScheduleFactory = "exponential",
        gradient_clip: float = 0.0,
        noise: float = 0.0,
        l2: float = 0.0,
        manifold: float = 0.0,
        manifold_fraction: float = 0.5,
        linearity: float = 0.0,
        observation_penalty: float = 0.0,
        n_ahead: int = 20,
        max_skipped: int = 50,
        seed: int = 0,
    ):
        alpha, alpha_end, alpha_decay = float(alpha), float(alpha_end), float(alpha_decay)
        alpha_every, forcing_interval, n_ahead = int(alpha_every), int(forcing_interval), int(n_ahead)
        lr, lr_end, noise, max_skipped, seed = float(lr), float(lr_end), float(noise), int(max_skipped), int(seed)
        gradient_clip = float(gradient_clip)
        l2, manifold, manifold_fraction = float(l2), float(manifold), float(manifold_fraction)
        linearity, observation_penalty = float(linearity), float(observation_penalty)
        super().__init__(network, lr=lr, optimizer=optimizer, weight_decay=0.0, schedule=schedule)
        self.automatic_optimization = False  # whether a step is taken is decided after its gradient is seen
        _check_known("forcing", forcing, FORCINGS)
        _check_known("alpha_method", alpha_method, ALPHA_METHODS)
        _check_range(0.0, 1.0, alpha=alpha, alpha_end=alpha_end, alpha_decay=alpha_decay)
        _check_range(0.0, 1.0, manifold_fraction=manifold_fraction)
        _check_range(0.0, math.inf, noise=noise, l2=l2, manifold=manifold, linearity=linearity)
        _check_range(0.0, math.inf, observation_penalty=observation_penalty, gradient_clip=gradient_clip)
        _check_range(0, math.inf, max_skipped=max_skipped)
        _check_range(1, math.inf, alpha_every=alpha_every, forcing_interval=forcing_interval, n_ahead=n_ahead)
        for name, rate in (("lr", lr), ("lr_end", lr_end)):
            if not 0.0 < rate < math.inf:
                raise ValueError(f"{name} must be above 0, got {rate}")
        if not isinstance(self.network, PLRNN):
            raise TypeError(f"network must be a tsmodels.models.PLRNN, got {type(self.network).__name__}")
        if alpha_method == "norm_bound" and forcing == "adaptive" and "W1" not in self.network.theta:
            raise ValueError(f"alpha_method='norm_bound' is for shallow cells, not for cell={self.network.cell!r}")
        self.penalties = Penalties(l2, manifold, manifold_fraction, linearity, observation_penalty)
        self.penalties.check(self.network)
        self.forcing, self.first_alpha, self.alpha_end, self.alpha_method = forcing, alpha, alpha_end, alpha_method
        self.alpha_decay, self.alpha_every, self.forcing_interval = alpha_decay, alpha_every, forcing_interval
        self.gradient_clip, self.max_skipped, self.lr_end = gradient_clip, max_skipped, lr_end
        self.noise, self.n_ahead, self.seed = noise, n_ahead, seed
        self.register_buffer("alpha", torch.tensor({"adaptive": 1.0, "free": 0.0}.get(forcing, alpha)))
        self._errors: list[Tensor] = []  # of the steps of the epoch; read once at its end
        self._n_skipped = self._n_skipped_in_a_row = 0
        self._generator: torch.Generator | None = None
        self._trained: list[torch.nn.Parameter] = []  # of an epoch: to look for them takes longer than to use them

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of every hook it calls, thirty in a step; all that nn.Module looks for in a value
        # before it keeps one takes as long as the optimiser
        if type(value) is str:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, x: Tensor, **inputs: Tensor | None) -> Tensor:
        """Predict windows that force the network as strongly as at this point of the training.

        Parameters
        ----------
        x : Tensor (batch, T + 1, channel)
            Windows.
        inputs : Tensor, optional
            By name: ``s`` (batch, T, n_inputs) and ``signal`` like ``x``.

        Returns
        -------
        Tensor (batch, T, channel)
            Predictions of x[:, 1:]; with a filtered observation of the last steps only.
        """
        return self.network(x, alpha=self._strength(x.shape[1] - 1), **inputs)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Take a step on a batch, if its gradient is finite."""
        every = min(self.alpha_every, int(self.trainer.num_training_batches))  # at least once in a short epoch
        if self.forcing == "adaptive" and (batch_idx + 1) % every == 0:
            self._adapt_alpha(batch)
        error = self._error(batch)
        penalty = self.penalties(self.network)
        optimizer = cast(Optimizer, self.optimizers())
        optimizer.zero_grad()
        self.manual_backward(error if penalty is None else error + penalty)
        if not self._clip_gradient():  # a window with NaN, or an orbit that left all bounds
            self._skip()
            return
        optimizer.step()
        self.network.project_()
        self._errors.append(error.detach())
        if self._n_skipped_in_a_row:
            self._n_skipped_in_a_row = 0

    def on_train_epoch_start(self) -> None:
        """Begin the sums of an epoch, and weaken the forcing of "annealed"."""
        self._errors, self._n_skipped, self._generator = [], 0, None
        self._trained = list(self.network.parameters())
        if self.forcing == "annealed":
            share = self.current_epoch / max(1, (self.trainer.max_epochs or 1) - 1)
            self.alpha.fill_(self.first_alpha + min(1.0, share) * (self.alpha_end - self.first_alpha))

    def on_train_epoch_end(self) -> None:
        """Log the epoch and lower the learning rate."""
        error = float(torch.stack(self._errors).mean()) if self._errors else math.nan
        self.log_dict({"train/loss": error, "train/alpha": self._mean_alpha()}, prog_bar=True)
        self.log("train/skipped", float(self._n_skipped))
        self._trained, self._generator = [], None  # so that a task that was trained can be copied as any other
        schedule = self.lr_schedulers()
        if schedule is not None and self._errors:  # torch warns of a schedule that is ahead of its optimiser
            cast(LRScheduler, schedule).step()

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Measure the free run beside a validation series."""
        self._evaluate(batch, "val")

    def on_validation_epoch_end(self) -> None:
        """Do nothing: a free run that diverges is a finding, not an error."""

    def test_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Measure the free run beside a test series."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the free run (batch, n - 1, channel) from the first step of series (batch, n, channel)."""
        start = batch.get("signal", batch["x"])[:, :1]
        return self.network.generate(start, batch["x"].shape[1] - 1, batch.get("s"))

    def configure_optimizers(self) -> Any:
        """Return optimiser and schedule in Lightning's form."""
        if self.optimizer == "radam":
            optimizer = FlatRAdam(self.network.parameters(), self.lr)
        else:
            optimizer = make_optimizer(self.optimizer, self.network, lr=self.lr, weight_decay=0.0)
        if self.schedule == "constant":
            return optimizer
        if callable(self.schedule):
            return {"optimizer": optimizer, "lr_scheduler": self.schedule(optimizer)}
        n_epochs, decay = self.trainer.max_epochs, self.lr_end / self.lr
        return {"optimizer": optimizer, "lr_scheduler": epoch_schedule(self.schedule, optimizer, n_epochs, decay)}

    def _error(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean squared error of the predictions of a batch."""
        x, s, signal = batch["x"], batch.get("s"), batch.get("signal")
        if self.noise:
            x, signal = self._noisy(x), None if signal is None else self._noisy(signal)
        predictions = self(x, s=s, signal=signal)
        return F.mse_loss(predictions, x[:, -predictions.shape[1] :])

    def _clip_gradient(self) -> bool:
        """Shorten the gradient to what is allowed; tell whether it is finite."""
        gradients = [p.grad for p in self._trained or self.network.parameters() if p.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])))
        if 0.0 < self.gradient_clip < norm < math.inf:
            for gradient in gradients:
                gradient.mul_(self.gradient_clip / norm)
        return math.isfinite(norm)

    def _skip(self) -> None:
        self._n_skipped, self._n_skipped_in_a_row = self._n_skipped + 1, self._n_skipped_in_a_row + 1
        if self._n_skipped_in_a_row > self.max_skipped:
            raise FloatingPointError(
                f"{self._n_skipped_in_a_row} training steps in a row had no finite gradient, in epoch "
                f"{self.current_epoch}: look for NaN or huge values in the data, force more strongly (alpha, "
                f"forcing_interval), lower the learning rate (lr={self.lr}), or set gradient_clip=10"
            )

    def _strength(self, n_steps: int) -> float | Tensor:
        if self.forcing == "sparse":
            return sparse_alpha(n_steps, self.forcing_interval)
        return float(self.alpha)

    def _mean_alpha(self) -> float:
        return 1.0 / self.forcing_interval if self.forcing == "sparse" else float(self.alpha)

    def _adapt_alpha(self, batch: Mapping[str, Tensor]) -> None:
        signal = batch.get("signal", batch["x"])
        estimate = estimate_alpha(self.network, signal[:, 1:], self.alpha_method)
        if math.isfinite(estimate):  # else this batch is skipped anyway
            self.alpha.fill_(annealed(float(self.alpha), estimate, self.alpha_decay))

    def _noisy(self, x: Tensor) -> Tensor:
        if self._generator is None:  # one for each epoch, so that a run that is resumed goes on with the same noise
            self._generator = torch.Generator(x.device).manual_seed(self.seed + SEED_STRIDE * self.current_epoch)
        return x + self.noise * torch.randn(x.shape, generator=self._generator, dtype=x.dtype, device=x.device)

    def _evaluate(self, batch: Mapping[str, Tensor], stage: str) -> None:
        series, inputs, signal = (_first(batch.get(name)) for name in ("x", "s", "signal"))
        found = evaluate_reconstruction(
            self.network, series, inputs=inputs, signal=signal, n_ahead=self.n_ahead, seed=self.seed
        )
        largest = float(found.lyapunov.max()) if len(found.lyapunov) else math.nan
        measures = {"d_stsp": found.d_stsp, "d_h": found.d_h, f"pe_{self.n_ahead}": found.pe, "lyapunov_max": largest}
        measures |= {"divergent": float(found.divergent)}
        self.log_dict({f"{stage}/{name}": value for name, value in measures.items()}, batch_size=1, prog_bar=True)


def _first(series: Tensor | None) -> np.ndarray | None:
    return None if series is None else series[0].double().cpu().numpy()


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}; got {value!r}")


def _check_range(low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value}")
