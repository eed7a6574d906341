"""The ``.ts`` text format of the UCR and UEA archives.

Why not sktime's reader: it lower-cases the whole file, class labels included; it has to be told beforehand whether the
cases are of equal length, and goes through ``nested_univ`` whatever is asked for. On the test files of PenDigits and
JapaneseVowels it takes twenty times as long as this one, besides two seconds for its import.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np


def read_ts(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Read one file of labelled series.

    Returns
    -------
    cases : list of ndarray (channel, time), float64
        NaN where the file has ``?`` or ``NaN``; the cases may differ in length.
    labels : ndarray (case,) of str
        As they stand in the file.

    Raises
    ------
    ValueError
        If the file is no classification problem, has time stamps, or is malformed; the message names file and line.
    """
    cases, labels = [], []
    # Values and labels are ASCII; a description in another encoding must not make the data unreadable.
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = enumerate(file, start=1)
        _check_header(lines, path)
        for number, line in lines:
            if line.strip():
                case, label = _parse_case(line, f"{path}, line {number}")
                if cases and len(case) != len(cases[0]):
                    raise ValueError(
                        f"{path}, line {number}: {len(case)} channels, the cases before have {len(cases[0])}."
                    )
                cases.append(case)
                labels.append(label)
    if not cases:
        raise ValueError(f"{path}: no cases after @data.")
    return cases, np.array(labels)


def _check_header(lines: Iterator[tuple[int, str]], path: Path) -> None:
    """Consume the lines up to and including @data."""
    labelled = False
    for _, line in lines:
        tag, _, value = line.strip().lower().partition(" ")
        if tag == "@timestamps" and value.strip() != "false":
            raise ValueError(f"{path}: series with time stamps are not supported.")
        if tag == "@classlabel":
            labelled = value.startswith("true")
        if tag == "@data":
            if not labelled:
                raise ValueError(f"{path}: no classification problem, the header lacks '@classLabel true'.")
            return
    raise ValueError(f"{path}: no @data line; the file is not in the .ts format or was cut off.")


def _parse_case(line: str, where: str) -> tuple[np.ndarray, str]:
    """Parse ``v,v,...:v,v,...:label``, one field per channel."""
    *channels, label = line.replace("?", "nan").split(":")
    label = label.strip()
    if not channels or not label:
        raise ValueError(f"{where}: expected values and a class label separated by ':'.")
    lengths = {channel.count(",") for channel in channels}
    if len(lengths) > 1:
        raise ValueError(f"{where}: the channels of the case differ in length.")
    try:
        values = np.fromiter(map(float, ",".join(channels).split(",")), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{where}: {error}.") from None
    return values.reshape(len(channels), -1), label
