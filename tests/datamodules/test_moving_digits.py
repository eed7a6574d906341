"""Moving digits: what a video is made of, how its digits move, that its number says all about it."""

import doctest
import pickle

import numpy as np
import pytest
import torch

import tsmodels_datamodules._moving_digits as module
from tsmodels_datamodules import DataNotFoundError, MovingMNISTDataModule

SMALL = {"n_frames": 8, "context": 3, "size": 32, "n_train": 10, "n_val": 5, "n_test": 6, "batch_size": 4}


def make(**options):
    return MovingMNISTDataModule(**(SMALL | {"source": "digits"} | options))


def frames(loader):
    return torch.cat([batch["frames"] for batch in loader])


def write_mnist(folder, n_train=50_020, side=28):
    """Squares: all digits of a part of one brightness, which tells the parts apart."""
    rows = np.arange(n_train)
    train = np.where(rows < 50_000, 100, 150).astype(np.uint8)[:, None, None]
    train = np.broadcast_to(train, (n_train, side, side))
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mnist.npz", X_train=train, X_test=np.full((7, side, side), 200, dtype=np.uint8))


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(module).failed == 0


def test_batches():
    data = make()
    for part, n in (("train", 10), ("val", 5), ("test", 6)):
        batches = list(getattr(data, f"{part}_dataloader")())
        assert [set(batch) for batch in batches] == [{"frames"}] * len(batches)
        found = frames(getattr(data, f"{part}_dataloader")())
        assert found.shape == (n, 8, 1, 32, 32) and found.dtype is torch.float32
        assert found.min() == -1 and 0.8 < found.max() <= 1
    assert (data.n_channels, data.height, data.width, data.context) == (1, 32, 32, 3)


def test_a_video_follows_from_seed_part_and_number_alone():
    videos = frames(make().test_dataloader())
    assert torch.equal(frames(make(batch_size=1, n_test=4, n_train=3).test_dataloader()), videos[:4])
    assert not torch.equal(frames(make(seed=1).test_dataloader()), videos)
    assert not torch.equal(frames(make().val_dataloader())[:4], videos[:4])
    assert len({video.numpy().tobytes() for video in videos}) == len(videos)


def test_training_is_in_a_new_order_in_each_pass_and_the_rest_is_not():
    loader = make().train_dataloader()
    passes = [frames(loader) for _ in range(2)]
    assert not torch.equal(*passes)
    first, second = (sorted(video.numpy().tobytes() for video in videos) for videos in passes)
    assert first == second
    assert torch.equal(passes[0], frames(make().train_dataloader()))  # the order follows from the seed
    test = make().test_dataloader()
    assert torch.equal(frames(test), frames(test))


def test_global_generators_are_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    frames(make().train_dataloader())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_digits_fly_straight_on_and_turn_at_the_walls():
    places = module.flight(np.random.default_rng(0), 50, 400, 0.15)
    assert places.min() == 0 and places.max() == 1
    steps = np.diff(places, axis=0)
    at_wall = (places == 0) | (places == 1)
    free = ~(at_wall[:-1] | at_wall[1:]).any(-1)
    np.testing.assert_allclose(np.linalg.norm(steps[free], axis=-1), 0.15)
    # between walls a component keeps its step; after a wall it is the one before, turned round
    inside = ~(at_wall[:-2] | at_wall[1:-1] | at_wall[2:])
    np.testing.assert_allclose(steps[1:][inside], steps[:-1][inside], atol=1e-12)
    turned = at_wall[1:-1] & ~(at_wall[2:])
    assert turned.sum() > 100 and (np.sign(steps[1:][turned]) == -np.sign(steps[:-1][turned])).all()


def test_a_step_between_walls_is_five_cells_of_a_frame_of_64(tmp_path):
    write_mnist(tmp_path / "spatiotemporal")
    data = MovingMNISTDataModule(n_frames=40, n_digits=1, n_train=20, source="mnist", data_dir=tmp_path)
    videos = frames(data.train_dataloader())[:, :, 0] > -1
    # the digits are whole squares: their least row and column is where they are
    assert (videos.sum((-1, -2)) == 28 * 28).all()
    corners = torch.stack([videos.any(-1).int().argmax(-1), videos.any(-2).int().argmax(-1)], -1).double()
    assert corners.min() == 0 and corners.max() == 36
    free = ((corners[:, :-1] > 0) & (corners[:, :-1] < 35) & (corners[:, 1:] > 0) & (corners[:, 1:] < 35)).all(-1)
    lengths = (corners[:, 1:] - corners[:, :-1]).norm(dim=-1)[free]
    assert len(lengths) > 200 and abs(lengths.mean() - 5.4) < 0.1


def test_where_digits_overlap_the_brighter_one_is_seen(tmp_path):
    write_mnist(tmp_path / "spatiotemporal")
    digits = {"n_train": 4, "source": "mnist", "data_dir": tmp_path, "size": 32, "digit_size": 28, "n_digits": 3}
    seen = frames(MovingMNISTDataModule(**digits).train_dataloader())
    torch.testing.assert_close(seen.unique(), torch.tensor([-1.0, 100 / 127.5 - 1]))


def test_the_parts_have_digits_of_their_own(tmp_path):
    write_mnist(tmp_path / "spatiotemporal")
    data = make(source="mnist", data_dir=tmp_path, digit_size=14)
    for part, brightness in (("train", 100), ("val", 150), ("test", 200)):
        found = frames(getattr(data, f"{part}_dataloader")()).unique()
        torch.testing.assert_close(found, torch.tensor([-1.0, brightness / 127.5 - 1]))
    by_part = module._read_digits()
    assert {part: len(digits) for part, digits in by_part.items()} == {"train": 1257, "val": 270, "test": 270}


@pytest.mark.parametrize("side", [4, 14, 28])
def test_resized_digits_keep_their_ink(side):
    digits = module._read_digits()["test"]
    resized = module._resized(digits, side)
    assert resized.shape == (270, side, side) and resized.dtype == np.uint8
    np.testing.assert_allclose(resized.mean((1, 2)), digits.mean((1, 2)), rtol=0.15)


def test_sources(tmp_path, monkeypatch):
    monkeypatch.setenv("TSMODELS_DATA", str(tmp_path))
    monkeypatch.setenv("TSMODELS_CACHE", str(tmp_path / "cache"))
    assert make(source="auto").source == "digits"
    with pytest.raises(DataNotFoundError, match=r"mnist.npz was not found in .*TSMODELS_DATA"):
        make(source="mnist")
    with pytest.raises(DataNotFoundError, match=r"mnist.npz was not found"):
        make(source="auto", data_dir=tmp_path)
    write_mnist(tmp_path)
    assert make(source="auto").source == "mnist" and make(source="digits").source == "digits"


def test_files_that_are_something_else(tmp_path):
    write_mnist(tmp_path / "few", n_train=100)
    with pytest.raises(ValueError, match="100 training digits"):
        make(source="mnist", data_dir=tmp_path / "few").train_dataloader()
    np.savez(tmp_path / "mnist.npz", X_train=np.zeros((3, 784)), X_test=np.zeros((3, 784)))
    with pytest.raises(ValueError, match=r"'X_train' is float64, \(3, 784\)"):
        make(source="mnist", data_dir=tmp_path).train_dataloader()
    (tmp_path / "mnist.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="damaged or another file"):
        make(source="mnist", data_dir=tmp_path).train_dataloader()


def test_simplest_forecasts_of_mnist(archives):
    """A black frame beats a sharp one in the wrong place: 200 test videos, each frame of the second half."""
    if not (archives / "spatiotemporal" / "mnist.npz").is_file():
        pytest.skip("needs spatiotemporal/mnist.npz")
    data = make(source="mnist", n_frames=20, size=64, n_test=200)
    videos = (frames(data.test_dataloader()) + 1) / 2
    truth = videos[:, 10:]
    copied, black = (videos[:, 9:10] - truth).square().mean(), truth.square().mean()
    assert abs(copied - 0.073) < 0.004 and abs(black - 0.043) < 0.003


@pytest.mark.parametrize("after_use", [False, True])
def test_pickling(after_use):
    data = make()
    if after_use:
        frames(data.train_dataloader())
    assert torch.equal(frames(pickle.loads(pickle.dumps(data)).test_dataloader()), frames(data.test_dataloader()))


def test_options_are_plain_and_recorded(tmp_path):
    data = make(n_frames=np.int64(8))
    assert dict(data.hparams) == SMALL | {"source": "digits", "n_digits": 2, "digit_size": 14, "speed": 0.15, "seed": 0}
    assert all(type(value) in (str, int, float) for value in data.hparams.values())
    assert "size=32" in repr(data) and str(data) == repr(data) and "\n" not in repr(data)


def test_parts_without_videos():
    data = make(n_val=0, n_test=0)
    assert data.val_dataloader() == []
    with pytest.raises(ValueError, match="choose n_test above 0"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 0}, "context must be at least 1, got 0"),
        ({"context": 8}, "context = 8 leaves no frame to forecast: it must be below n_frames = 8"),
        ({"n_frames": 1}, "n_frames must be at least 2"),
        ({"size": 6}, "digit_size must be at least 4"),
        ({"digit_size": 32}, "digit_size = 32 must be below size = 32"),
        ({"n_digits": 0}, "n_digits must be at least 1"),
        ({"n_train": 0}, "n_train must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"speed": 0}, "speed must be above 0"),
        ({"source": "letters"}, "source must be one of 'auto', 'mnist', 'digits'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_options_out_of_range_are_named_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
