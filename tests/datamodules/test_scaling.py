import pickle

import numpy as np
import pytest
import torch

from tsmodels_datamodules import PanelScaler, to_panel


def test_statistics_over_observed_values_only(ragged):
    ragged[2][1, 3] = np.nan
    panel = to_panel(ragged, dtype=torch.float64)
    scaler = PanelScaler("standard").fit(panel)
    values = np.concatenate(ragged, axis=1)
    np.testing.assert_allclose(scaler.mean_, np.nanmean(values, axis=1), rtol=1e-12)
    np.testing.assert_allclose(scaler.scale_, np.nanstd(values, axis=1), rtol=1e-12)


def test_scaled_values_have_mean_0_and_deviation_1_and_padding_stays_0(ragged):
    ragged[2][1, 3] = np.nan
    panel = to_panel([100 * case + 7 for case in ragged], dtype=torch.float64)
    scaled = PanelScaler().fit(panel).transform(panel)
    for channel in range(2):
        values = scaled.x[..., channel][scaled.mask[..., channel]]
        assert values.mean().abs() < 1e-12 and abs(values.std(correction=0) - 1) < 1e-12
    assert (scaled.x[~scaled.mask] == 0).all()
    assert torch.equal(scaled.mask, panel.mask) and torch.equal(scaled.lengths, panel.lengths)


def test_transform_leaves_its_input_alone_and_keeps_the_dtype(cube):
    panel = to_panel(cube)
    scaled = PanelScaler().fit(panel).transform(panel)
    assert scaled.x.dtype is torch.float32
    assert torch.equal(panel.x, to_panel(cube).x)


def test_a_large_offset_is_no_loss_beyond_float32(cube):
    """The mean is taken and subtracted in float64: what is lost was lost in the float32 values themselves."""
    panel = to_panel(cube + 1e5)
    scaled = PanelScaler().fit(panel).transform(panel)
    exact = panel.x.double()
    exact = (exact - exact.mean((0, 1))) / exact.std((0, 1), correction=0)
    torch.testing.assert_close(scaled.x.double(), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e7])
def test_a_constant_channel_becomes_0(constant, cube):
    cube[:, 1] = constant
    panel = to_panel(cube)
    scaler = PanelScaler().fit(panel)
    assert scaler.scale_[1] == 1 and scaler.scale_[0] != 1
    torch.testing.assert_close(scaler.transform(panel).x[..., 1], torch.zeros(6, 5))


def test_a_channel_without_any_value_is_left_alone(cube):
    cube[:, 1] = np.nan
    scaler = PanelScaler().fit(to_panel(cube))
    assert scaler.mean_[1] == 0 and scaler.scale_[1] == 1


def test_none_is_the_identity(cube):
    panel = to_panel(cube)
    assert torch.equal(PanelScaler("none").fit(panel).transform(panel).x, panel.x)


def test_new_cases_are_scaled_by_the_old(cube):
    scaler = PanelScaler().fit(to_panel(cube, dtype=torch.float64))
    new = to_panel(cube[:2] * 9, dtype=torch.float64)
    expected = (cube[:2] * 9 - cube.mean((0, 2))[:, None]) / cube.std((0, 2))[:, None]
    np.testing.assert_allclose(scaler.transform(new).x.numpy(), expected.transpose(0, 2, 1), rtol=1e-12)


def test_pickles_as_plain_numpy(cube):
    panel = to_panel(cube)
    scaler = PanelScaler().fit(panel)
    assert all(isinstance(value, (str, np.ndarray)) for value in vars(scaler).values())
    assert torch.equal(pickle.loads(pickle.dumps(scaler)).transform(panel).x, scaler.transform(panel).x)


def test_misuse_is_named(cube):
    with pytest.raises(ValueError, match="scaling must be one of 'standard', 'none', got 'minmax'"):
        PanelScaler("minmax")
    with pytest.raises(RuntimeError, match=r"not fitted: call fit"):
        PanelScaler().transform(to_panel(cube))
    with pytest.raises(ValueError, match="1 channels, the scaler was fitted on 2"):
        PanelScaler().fit(to_panel(cube)).transform(to_panel(cube[:, :1]))
