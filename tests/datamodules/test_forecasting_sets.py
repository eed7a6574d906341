"""The sets of the forecasting literature: found, read, split as is the custom, downloaded whole or not at all."""

import functools
import gzip
import hashlib
import http.server
import json
import socket
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tsmodels_datamodules import DataNotFoundError, ForecastingSetDataModule, _forecasting_sets, load_forecasting_set
from tsmodels_datamodules._forecasting_sets import FORECASTING_SETS, find_forecasting_set


def table(n=200, freq="D"):
    values = np.random.default_rng(0).normal(size=(n, 2))
    return pd.DataFrame(values, pd.date_range("2020", periods=n, freq=freq, name="date"), ["0", "OT"])


def test_a_table_with_dates(tmp_path):
    table().to_csv(tmp_path / "exchange_rate.csv")
    y = load_forecasting_set("exchange_rate", data_dir=tmp_path)
    pd.testing.assert_frame_equal(y, table())
    data = ForecastingSetDataModule("exchange_rate", 12, 5, data_dir=tmp_path, split=("2020-05-01", "2020-06-01"))
    assert data.n_windows == {"train": 121 - 16, "val": 31 - 4, "test": 48 - 4}


def test_dates_with_gaps_are_left_out(tmp_path):
    """The published protocols count rows; the common weather.csv lacks some times."""
    table().drop(table().index[50]).to_csv(tmp_path / "weather.csv")
    y = load_forecasting_set("weather", data_dir=tmp_path)
    assert y.index.equals(pd.RangeIndex(199)) and y.columns.tolist() == ["0", "OT"]
    assert ForecastingSetDataModule("weather", 12, 5, data_dir=tmp_path).n_windows["test"] == 39 - 4


def test_another_table(tmp_path):
    table().to_csv(tmp_path / "weather.csv", index_label="time")
    with pytest.raises(ValueError, match=r"weather\.csv has no column 'date' but \['time', '0', 'OT'\]"):
        load_forecasting_set("weather", data_dir=tmp_path)


def test_values_only(tmp_path):
    np.savetxt(tmp_path / "weather_values.txt", table().to_numpy(), delimiter=",")
    y = load_forecasting_set("weather", data_dir=tmp_path)
    np.testing.assert_allclose(y, table())
    assert y.columns.tolist() == ["0", "1"]


def test_where_files_are_looked_for(tmp_path, monkeypatch):
    places = [tmp_path / name for name in ("given", "environment", "cache")]
    for i, place in enumerate(places):
        (place / "forecasting").mkdir(parents=True)
        (table() + i).to_csv(place / "forecasting" / "exchange_rate.csv")
    (table() + 9).to_csv(places[0] / "exchange_rate.csv")  # comes after the folder's own
    monkeypatch.setenv("TSMODELS_DATA", str(places[1]))
    monkeypatch.setenv("TSMODELS_CACHE", str(places[2]))
    for i, place in enumerate(places):
        y = load_forecasting_set("exchange_rate", data_dir=places[0] if i == 0 else None)
        pd.testing.assert_frame_equal(y, table() + i)
        if i == 0:
            (place / "forecasting" / "exchange_rate.csv").unlink()
            pd.testing.assert_frame_equal(load_forecasting_set("exchange_rate", data_dir=place), table() + 9)
        else:
            monkeypatch.delenv("TSMODELS_DATA", raising=False)


def test_ett_ends_after_twenty_months(tmp_path):
    values = np.arange(17420 * 7.0).reshape(-1, 7)
    np.savetxt(tmp_path / "ETTh2_values.txt", values, delimiter=",", fmt="%d")
    data = ForecastingSetDataModule("ETTh2", data_dir=tmp_path)
    assert data.n_windows == {"train": 8449, "val": 2785, "test": 2785}
    assert data.channel_names == ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    np.testing.assert_allclose(data.scaler.mean_, values[:8640].mean(0))
    last = data.dataset("test")[-1]["y"]
    np.testing.assert_allclose(data.scaler.inverse(last)[-1], values[14399], rtol=1e-6)


def write_competitions(folder):
    """Write three series of M4 and two of M3, and return the past and future of M4's."""
    rng = np.random.default_rng(0)
    series = {f"H{i}": (rng.integers(1, 99, n), rng.integers(1, 99, 48)) for i, n in enumerate((150, 200, 170))}
    for k, part in enumerate(("train", "test")):
        width = max(len(one[k]) for one in series.values())
        header = ",".join(f'"V{i + 1}"' for i in range(width + 1))
        order = list(series) if part == "train" else list(series)[::-1]  # they are matched by name
        fields = [[f'"{name}"', *(f'"{v}"' for v in series[name][k])] for name in order]
        lines = [",".join(row) + "," * (width + 1 - len(row)) for row in fields]
        (folder / f"M4-Hourly-{part}.csv").write_text("\n".join([header, *lines, ""]))
    records = [
        {"id": "N1", "period": "MONTHLY", "h": 18, "x": list(range(60)), "xx": list(range(60, 78))},
        {"id": "N2", "period": "YEARLY", "h": 6, "x": list(range(20)), "xx": list(range(20, 26))},
    ]
    with gzip.open(folder / "M3.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return series


def test_m4_has_its_official_test_part(tmp_path):
    series = write_competitions(tmp_path)
    data = ForecastingSetDataModule("M4-Hourly", 24, 48, data_dir=tmp_path, scaling="none")
    assert data.n_windows == {"train": 31 + 81 + 51, "val": 3, "test": 3} and data.n_series == 3
    (test,) = data.test_dataloader()
    for x, y, (past, future) in zip(test["x"], test["y"], series.values(), strict=True):
        assert y.flatten().tolist() == future.tolist() and x.flatten().tolist() == past[-24:].tolist()
    train = [batch["y"] for batch in data.train_dataloader()]
    held_back = {tuple(past[-48:].tolist()) for past, _ in series.values()}
    assert not held_back & {tuple(window.flatten().tolist()) for batch in train for window in batch}


def test_a_horizon_longer_than_the_official_one(tmp_path):
    write_competitions(tmp_path)
    with pytest.raises(ValueError, match=r"at most 48 of a series in the val part, but a window needs horizon = 96"):
        ForecastingSetDataModule("M4-Hourly", 24, 96, data_dir=tmp_path).setup()


def test_m3_by_period(tmp_path):
    write_competitions(tmp_path)
    y = load_forecasting_set("M3-Monthly", data_dir=tmp_path)
    assert y.index.get_level_values(0).unique().tolist() == ["N1"] and y["y"].tolist() == list(range(78))
    data = ForecastingSetDataModule("M3-Yearly", 4, 6, data_dir=tmp_path, scaling="none")
    (test,) = data.test_dataloader()
    assert test["y"].flatten().tolist() == list(range(20, 26))


@pytest.mark.parametrize(("name", "similar"), [("etth1", "ETTh1"), ("M4 Hourly", "M4-Hourly"), ("exchange", None)])
def test_unknown_names(name, similar):
    with pytest.raises(ValueError, match=f"Did you mean '{similar}'" if similar else "name must be one of 'ETTh1'"):
        ForecastingSetDataModule(name)


@pytest.mark.parametrize("name", ["weather", "M4-Hourly", "M3-Other"])
def test_what_cannot_be_downloaded(name, tmp_path):
    """The message says where to put the files."""
    files = " and ".join(FORECASTING_SETS[name].files[0])
    with pytest.raises(DataNotFoundError, match=rf"no public copy with a checksum is known\. To use it, put {files}"):
        ForecastingSetDataModule(name).prepare_data()
    with pytest.raises(DataNotFoundError, match=r"data_dir is '.*nowhere', which is no folder"):
        load_forecasting_set(name, data_dir=tmp_path / "nowhere")


def test_no_download_unless_wanted():
    with pytest.raises(DataNotFoundError, match="as download=False"):
        load_forecasting_set("ETTh1", download=False)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and counts the requests."""

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve an ETTh1.csv of 200 rows, registered with its checksum."""
    folder = tmp_path / "served"
    folder.mkdir()
    table().to_csv(folder / "ETTh1.csv")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(socket, "getfqdn", lambda host: host)  # the server asks for its name, which may take seconds
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests, server.folder = [], folder
        md5 = hashlib.md5((folder / "ETTh1.csv").read_bytes()).hexdigest()
        url = f"http://127.0.0.1:{server.server_port}/ETTh1.csv"
        monkeypatch.setitem(FORECASTING_SETS, "ETTh1", replace(FORECASTING_SETS["ETTh1"], url=url, md5=md5))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "not yet" / "cache"
    monkeypatch.setenv("TSMODELS_CACHE", str(folder))
    return folder / "forecasting"


def test_a_download_is_kept(server, cache):
    assert find_forecasting_set("ETTh1") == [cache / "ETTh1.csv"]
    pd.testing.assert_frame_equal(load_forecasting_set("ETTh1"), table())
    assert server.requests == ["/ETTh1.csv"] and [path.name for path in cache.iterdir()] == ["ETTh1.csv"]


def test_a_damaged_file_in_the_cache_is_downloaded_anew(server, cache):
    cache.mkdir(parents=True)
    (cache / "ETTh1.csv").write_text("date,0,OT\n2020-01-01,1,2\n")
    assert len(load_forecasting_set("ETTh1")) == 200
    assert server.requests == ["/ETTh1.csv"]


def test_another_file_than_expected_is_refused(server, cache):
    (server.folder / "ETTh1.csv").write_text("<html>moved</html>")
    with pytest.raises(DataNotFoundError, match=r"download from http.* has the MD5 checksum .*, expected"):
        load_forecasting_set("ETTh1")
    assert list(cache.iterdir()) == []


def test_a_file_that_is_not_there(server, cache):
    (server.folder / "ETTh1.csv").unlink()
    with pytest.raises(DataNotFoundError, match="HTTP 404"):
        load_forecasting_set("ETTh1")


def test_a_cache_folder_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TSMODELS_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataNotFoundError, match="cannot write to the cache folder"):
        load_forecasting_set("ETTh1")


def test_every_checksum_has_a_public_address():
    for spec in FORECASTING_SETS.values():
        assert (spec.url is None) == (spec.md5 is None)
        assert spec.url is None or spec.url.startswith("https://")


@pytest.mark.parametrize(
    ("name", "lookback", "horizon", "windows"),
    [
        ("ETTh1", 96, 96, (8449, 2785, 2785)),
        ("ETTm1", 96, 96, (34369, 11425, 11425)),
        ("weather", 96, 96, (36696, 5175, 10444)),
        ("exchange_rate", 96, 96, (5120, 665, 1422)),
        ("national_illness", 36, 24, (617, 74, 170)),
        ("M4-Hourly", 168, 48, (244618, 414, 414)),
    ],
)
def test_windows_of_the_literature(archives, name, lookback, horizon, windows):
    data = ForecastingSetDataModule(name, lookback, horizon)
    assert tuple(data.n_windows.values()) == windows


def test_the_file_at_hand_is_the_public_one(archives):
    (path,) = find_forecasting_set("ETTh1")
    assert path.suffix == ".csv" and _forecasting_sets._md5(path) == FORECASTING_SETS["ETTh1"].md5


def test_repeating_the_last_value_on_etth1(archives):
    """The published error of that forecast is 1.29; computed a second time from the file, without our windows."""
    data = ForecastingSetDataModule("ETTh1", 96, 96, batch_size=512)
    error, n = 0.0, 0
    for batch in data.test_dataloader():
        error += (batch["x"][:, -1:] - batch["y"]).double().square().sum().item()
        n += batch["y"].numel()
    values = pd.read_csv(archives / "forecasting" / "ETTh1.csv").iloc[:14400, 1:].to_numpy()
    scaled = (values - values[:8640].mean(0)) / values[:8640].std(0)
    starts = np.arange(11520, 14400 - 96 + 1)
    expected = np.mean([np.mean((scaled[t : t + 96] - scaled[t - 1]) ** 2) for t in starts])
    assert error / n == pytest.approx(expected, rel=1e-5) and expected == pytest.approx(1.2944, abs=1e-3)
    assert n == 2785 * 96 * 7
    torch.testing.assert_close(data.scaler.scale_, values[:8640].std(0))
