"""The options of ``tsmodels benchmark``, and what its help says."""

from __future__ import annotations

import argparse

from tsmodels.benchmark import (
    DEFAULT_BACKTEST_OUTPUT,
    DEFAULT_CHAOS_OUTPUT,
    DEFAULT_DATASETS,
    DEFAULT_DYNAMICS,
    DEFAULT_DYNAMICS_OUTPUT,
    DEFAULT_DYNAMICS_SEEDS,
    DEFAULT_LONG_HORIZON_OUTPUT,
    DEFAULT_MODELS,
    DEFAULT_OUTPUT,
    DEFAULT_SEEDS,
    DEFAULT_SERIES,
    DYNAMICS_SETS,
    LONG_HORIZON_SETS,
)

__all__ = ["DESCRIPTION", "NOTES", "add_arguments"]

DESCRIPTION = f"""\
Train and evaluate models: classifiers on data sets of the UCR and UEA archives, forecasters, or
models of dynamical systems.

Without options: {" and ".join(DEFAULT_MODELS)} (sktime's, as a baseline) on
{", ".join(DEFAULT_DATASETS)},
which come with sktime; three seeds each.

--task forecasting: forecasters of this package and sktime at several cutoffs of short series that
come with sktime ({", ".join(DEFAULT_SERIES)}).

--task forecasting --datasets ETTh1 ...: networks by the protocol of the long-horizon forecasting
literature, on {", ".join(LONG_HORIZON_SETS)}.

--task dynamics: piecewise-linear recurrent networks learn a system from a series and are judged by
their free run ({", ".join(DEFAULT_DYNAMICS)} are integrated, others are read from TSMODELS_DATA).

--task chaos: forecasters on chaotic systems that are integrated here.

Each result is kept as soon as it is there. The same command run again goes on where it stopped and
runs nothing twice; --retry-failed tries again what failed."""

NOTES = """\
written to the output folder:
  results.csv    one row per data set, model and seed
  results.json   the same with parameters and versions, and the means over seeds
  results.md     the table (all but classification)
  *.png          the results as pictures: accuracy.png, mase.png, d_stsp.png, smape.png, or mse.png and
                 errors_by_horizon.png
  errors_by_horizon.csv  errors for each step ahead (forecasting)
  predictions/   what classifiers predicted, as MODEL/Predictions/DATASET/testResample0.csv, the format
                 of the archives' own tools
  cells/         a file per result, from which the tables are made; delete one to run it again

exit codes:
  0 all is well, 1 a model failed somewhere, 2 wrong arguments or output folder, 130 interrupted

examples:
  tsmodels benchmark
  tsmodels benchmark --datasets ArrowHead GunPoint --models MiniRocket 1NN-DTW
  tsmodels benchmark --seeds 5 --epochs 20 --output quick
  tsmodels benchmark --archive UEA --resamples 30 --jobs 8 --time-limit 7200 --output uea
  tsmodels benchmark --models MiniRocket sktime.classification.dictionary_based.WEASEL_V2
  tsmodels benchmark --config run.yaml --backend dask --scheduler tcp://192.0.2.1:8786
  tsmodels benchmark --task forecasting
  tsmodels benchmark --task forecasting --datasets ETTh1 weather --models DLinear Chimera \\
      --lookback 96 --horizons 96 192 --epochs 10 --window-stride 4
  tsmodels benchmark --task dynamics --datasets Lorenz63 ECG_pecuzal_5d --epochs 5000
  tsmodels benchmark --task chaos --models ContextParrot PLRNN

run.yaml has the same options; in its list of models there may be parameters:
  archive: UCR
  resamples: 10
  models:
    - MiniRocket
    - class: sktime.classification.kernel_based.RocketClassifier
      label: Rocket2000
      parameters: {num_kernels: 2000}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the benchmark to a parser."""
    parser.add_argument(
        "--task",
        choices=("classification", "forecasting", "dynamics", "chaos"),
        default="classification",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file with any of these options; those given here as well count here"
    )
    parser.add_argument(
        "--datasets",
        "--sets",
        nargs="+",
        metavar="NAME",
        help="sets of the UCR or UEA archive; found in sktime's own data, in the folder that the environment variable "
        f"TSMODELS_DATA names, or downloaded (default: {' '.join(DEFAULT_DATASETS)}); of forecasting: short series "
        f"(default: {' '.join(DEFAULT_SERIES)}) or long-horizon sets ({' '.join(LONG_HORIZON_SETS)}), not both; "
        f"of dynamics: {' '.join(DYNAMICS_SETS)} (default: the first two); of chaos: a wrong name lists what there is "
        "(default: all)",
    )
    parser.add_argument(
        "--archive",
        choices=("UCR", "UEA"),
        help="in place of --datasets: all sets of this archive that are found on this machine",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="classifiers of this package, MiniRocket, 1NN-DTW, or any classifier by import path or by its name in "
        "sktime's registry; a wrong name lists what there is (default: "
        f"{' '.join(DEFAULT_MODELS)}); of forecasting: NaiveLast, SeasonalNaive, Theta, ETS (short series; with "
        "statsmodels), DLinear, Chimera, Mamba, S4D (default: all but the last two); of dynamics: Floor, shPLRNN, "
        "shPLRNN-aGTF, ALRNN (default: all); of chaos: a wrong name lists what there is",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        metavar="N",
        help="one number: so many seeds, 0, 1, ...; several numbers, or one with a comma ('7,'): these seeds "
        f"(default: {len(DEFAULT_SEEDS)}; of dynamics {len(DEFAULT_DYNAMICS_SEEDS)}); models that draw nothing at "
        "random run once",
    )
    parser.add_argument(
        "--resamples",
        type=_positive,
        metavar="N",
        help="of classifiers, in place of --seeds: the archive's own split with seed 0, and N - 1 stratified resamples "
        "of it, resample k with seed k",
    )
    parser.add_argument(
        "--epochs",
        "--max-epochs",
        type=_positive,
        metavar="N",
        help="max_epochs of the models that are trained in epochs (default: each model's own; 10 on long-horizon sets, "
        "1000 of dynamics)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help=f"folder for the results (default: {DEFAULT_OUTPUT}, {DEFAULT_BACKTEST_OUTPUT} for short series, "
        f"{DEFAULT_LONG_HORIZON_OUTPUT} for long-horizon sets, {DEFAULT_DYNAMICS_OUTPUT}, {DEFAULT_CHAOS_OUTPUT})",
    )
    parser.add_argument(
        "--predictions",
        action=argparse.BooleanOptionalAction,
        help="keep what classifiers predict for the test cases (default: yes)",
    )
    parser.add_argument(
        "--train-metrics",
        action=argparse.BooleanOptionalAction,
        help="measure classifiers on the training cases too (default: yes)",
    )
    _add_execution(parser.add_argument_group("execution"))
    _add_forecasting(parser)


def _add_execution(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--backend",
        choices=("serial", "loky", "dask"),
        help="one cell after the other in this process, on worker processes of this machine, or on Dask workers "
        "(default: dask with --scheduler, loky with --jobs, else serial)",
    )
    group.add_argument("--jobs", type=_job_count, metavar="N", help="number of workers; -1: one for each core")
    group.add_argument(
        "--threads", type=_positive, metavar="N", help="threads of each worker (default: cores / workers)"
    )
    group.add_argument(
        "--scheduler", metavar="ADDRESS", help="a running Dask scheduler (default: workers on this machine)"
    )
    group.add_argument("--time-limit", type=_positive_number, metavar="SECONDS", help="a cell that takes longer fails")
    group.add_argument(
        "--memory-limit", type=_positive_number, metavar="MB", help="a cell whose process needs more fails"
    )
    group.add_argument(
        "--retry-failed",
        action=argparse.BooleanOptionalAction,
        help="run again what failed before (default: it is counted and left as it is)",
    )


def _add_forecasting(parser: argparse.ArgumentParser) -> None:
    short = parser.add_argument_group("forecasting, short series")
    short.add_argument("--cutoffs", type=_positive, metavar="N", help="number of cutoffs of each series (default: 3)")
    long = parser.add_argument_group("forecasting, long-horizon sets")
    for name, type_, text in (
        ("--lookback", _positive, "steps that the networks see (default: 96; national_illness 36)"),
        ("--patience", _positive, "epochs without a lower validation loss, after which training ends (default: 3)"),
        ("--window-stride", _positive, "train on every N-th window only; all are tested (default: 1)"),
        ("--batch-size", _positive, "windows per training step (default: 32)"),
        ("--lr", float, "peak learning rate (default: 0.001)"),
    ):
        long.add_argument(name, type=type_, metavar="X" if type_ is float else "N", help=text)
    long.add_argument(
        "--horizons",
        nargs="+",
        type=_positive,
        metavar="N",
        help="steps to forecast, one or several (default: 96; national_illness 24)",
    )
    long.add_argument("--accelerator", metavar="NAME", help="auto, cpu, gpu, cuda or mps (default: cpu)")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _positive_number(text: str) -> float:
    if not 0 < (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return number


_positive_number.__name__ = "number"
_positive.__name__ = "integer"  # argparse puts it into its message: "invalid integer value: 'two'"


def _job_count(text: str) -> int:
    return -1 if int(text) == -1 else _positive(text)


_job_count.__name__ = "integer"
