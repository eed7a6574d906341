"""Every container says the same, and what is none says how to become one."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch

from tsmodels_datamodules import to_panel


def as_numpy3d(cases):
    return np.stack(cases)


def as_tensor(cases):
    return torch.tensor(np.stack(cases))


def as_arrays(cases):
    return list(cases)


def as_tensors(cases):
    return tuple(torch.tensor(case) for case in cases)


def as_df_list(cases):
    return [pd.DataFrame(case.T, columns=["u", "v"]) for case in cases]


def as_multiindex(cases):
    # case identifiers neither sorted nor numbers, times neither from 0 nor evenly spaced
    frames = as_df_list(cases)
    return pd.concat(
        {name: frame.set_axis(np.arange(len(frame)) ** 2 + 3) for name, frame in zip("pazcbm", frames, strict=True)}
    )


def as_nested(cases):
    return pd.DataFrame({"u": [pd.Series(case[0]) for case in cases], "v": [case[1] for case in cases]})


FOR_EQUAL_LENGTH = [as_numpy3d, as_tensor]
FOR_ANY_LENGTH = [as_arrays, as_tensors, as_df_list, as_multiindex, as_nested]


@pytest.mark.parametrize("container", FOR_EQUAL_LENGTH + FOR_ANY_LENGTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_length(container, dtype, cube):
    panel = to_panel(container(cube), dtype=dtype)
    assert panel.x.dtype is dtype and panel.x.is_contiguous()
    torch.testing.assert_close(panel.x, torch.tensor(cube, dtype=dtype).transpose(1, 2), rtol=0, atol=0)
    assert panel.lengths.dtype is torch.int64 and panel.lengths.tolist() == [5] * 6
    assert panel.mask.dtype is torch.bool and panel.mask.shape == panel.x.shape and panel.mask.all()
    assert (panel.n_cases, panel.n_timepoints, panel.n_channels) == (6, 5, 2)
    assert panel.is_equal_length and not panel.has_missing


@pytest.mark.parametrize("container", FOR_ANY_LENGTH)
def test_unequal_length(container, ragged):
    panel = to_panel(container(ragged), dtype=torch.float64)
    assert panel.lengths.tolist() == [4, 2, 5, 1, 3, 5]
    assert not panel.is_equal_length and not panel.has_missing
    for case, x, mask, n in zip(ragged, panel.x, panel.mask, panel.lengths, strict=True):
        np.testing.assert_array_equal(x[:n].numpy(), case.T)
        assert (x[n:] == 0).all()
        assert mask[:n].all() and not mask[n:].any()


@pytest.mark.parametrize("container", FOR_EQUAL_LENGTH + FOR_ANY_LENGTH)
def test_nan_is_missing_and_never_the_end_of_a_case(container, cube):
    cube[1, 0, 2] = np.nan  # one value
    cube[2, :, 3:] = np.nan  # the end of a case, all channels
    panel = to_panel(container(cube), dtype=torch.float64)
    assert panel.lengths.tolist() == [5] * 6
    np.testing.assert_array_equal(panel.mask.numpy(), ~np.isnan(cube).transpose(0, 2, 1))
    np.testing.assert_array_equal(panel.x.numpy(), np.nan_to_num(cube).transpose(0, 2, 1))
    assert panel.has_missing


@pytest.mark.parametrize("container", FOR_EQUAL_LENGTH + FOR_ANY_LENGTH)
def test_the_panel_is_on_memory_of_its_own(container, cube):
    cube[0, 0, 0] = np.nan
    before = cube.copy()
    panel = to_panel(container(cube), dtype=torch.float64)
    panel.x.fill_(7)
    np.testing.assert_array_equal(cube, before)
    cube[:] = 3
    assert (panel.x == 7).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.uint8, bool])
def test_real_dtypes(dtype):
    X = np.array([[[0, 1, 1]], [[1, 0, 1]]], dtype=dtype)
    torch.testing.assert_close(to_panel(X).x[..., 0], torch.tensor([[0.0, 1, 1], [1, 0, 1]]))


def test_values_numpy_does_not_know():
    bfloat = torch.tensor([[[1.5, 2.0]]], dtype=torch.bfloat16, requires_grad=True)
    assert to_panel(bfloat).x.flatten().tolist() == [1.5, 2.0]
    nullable = pd.DataFrame({"u": pd.array([1, None, 3], dtype="Int64")})
    assert to_panel([nullable]).mask.flatten().tolist() == [True, False, True]
    masked = np.ma.masked_array([[[1.0, 2.0]]], mask=[[[False, True]]])
    assert to_panel(masked).mask.flatten().tolist() == [True, False]


def test_strided_input_and_the_panels_of_sktime(cube):
    from sktime.datatypes import convert_to

    strided = np.asfortranarray(np.repeat(cube, 2, axis=2))[:, :, ::2]
    expected = to_panel(cube).x
    torch.testing.assert_close(to_panel(strided).x, expected)
    for mtype in ("nested_univ", "pd-multiindex", "df-list"):
        torch.testing.assert_close(to_panel(convert_to(cube, mtype)).x, expected)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros((4, 9)), ValueError, r"X has 2 dimensions \(4, 9\), expected 3.*X\[:, None, :\]"),  # numpyflat
        (torch.zeros(4, 9), ValueError, r"X has 2 dimensions"),
        (np.zeros(9), ValueError, r"X has 1 dimensions.*reshape\(1, 1, -1\)"),
        (np.zeros((1, 2, 3, 4)), ValueError, r"X has 4 dimensions.*\(case, channel, time\)"),
        (np.zeros((0, 2, 3)), ValueError, r"X is empty: no case"),
        (np.zeros((3, 0, 3)), ValueError, r"X is empty: no channel"),
        (np.zeros((3, 2, 0)), ValueError, r"X is empty: no time point"),
        ([], ValueError, r"X is empty"),
        (pd.DataFrame(), ValueError, r"X is empty"),
        (pd.DataFrame(np.zeros((3, 4))), ValueError, r"X is a plain DataFrame.*to_numpy\(\)\[:, None, :\]"),
        ([np.zeros((2, 3)), np.zeros((3, 3))], ValueError, r"case 0 has 2, case 1 has 3"),
        ([np.zeros((2, 3)), np.zeros((2, 0))], ValueError, r"case 1 of X has no time points"),
        ([np.zeros((0, 3))], ValueError, r"no channels"),
        ([np.zeros(3)], ValueError, r"X\[0\] has 1 dimensions.*X\[0\]\[None, :\]"),
        ([np.zeros((1, 2, 3))], ValueError, r"X\[0\] has 3 dimensions"),
        ([[1.0, 2.0]], TypeError, r"X\[0\] is of type list"),
        ("BasicMotions", TypeError, r"X is of type str"),
        (None, TypeError, r"X is of type NoneType"),
        (np.zeros((1, 1, 2), dtype=complex), TypeError, r"X holds complex128, not real numbers"),
        (torch.zeros(1, 1, 2, dtype=torch.complex64), TypeError, r"X holds complex64"),
        (np.array([[["a", "b"]]]), TypeError, r"X holds <U1"),
        (np.zeros((1, 1, 2), dtype=object), TypeError, r"X holds object"),
        (np.zeros((1, 1, 2), dtype="M8[s]"), TypeError, r"X holds datetime64"),
        ([pd.DataFrame({"u": [1.0], "w": ["b"]})], TypeError, r"column 'w' of X\[0\]"),
        (np.array([[[1.0, np.inf]], [[1.0, 2.0]]]), ValueError, r"case 0, channel 0, time point 1"),
        (np.array([[[1.0, 1e300]]]), ValueError, r"too large for torch.float32"),
        (
            [pd.DataFrame({"u": [1.0], "v": [2.0]}), pd.DataFrame({"v": [1.0], "u": [2.0]})],
            ValueError,
            r"columns of X\[1\] are \['v', 'u'\].*same channels in the same order",
        ),
        ([pd.DataFrame({"u": [1.0, 2.0]}, index=[1, 0])], ValueError, r"X\[0\] are not sorted by time"),
        (pd.DataFrame({"u": [[1.0]], "v": [[1.0, 2.0]]}), ValueError, r"channels of case 0 of X .*of one length"),
        (pd.DataFrame({"u": [pd.Series([1.0]), None]}), TypeError, r"X.iloc\[1, 0\]"),
    ],
)
def test_what_cannot_be_read_says_why(X, error, message):
    with pytest.raises(error, match=message):
        to_panel(X)


@pytest.mark.parametrize(
    "index",
    [
        [("a", 0), ("b", 0), ("a", 1)],  # a case in two pieces
        [("a", 1), ("a", 0), ("b", 0)],  # not sorted by time
        [("a", 0), ("a", 0), ("b", 0)],  # a time twice
    ],
)
def test_a_multiindex_out_of_order(index):
    X = pd.DataFrame({"u": [1.0, 2.0, 3.0]}, index=pd.MultiIndex.from_tuples(index))
    with pytest.raises(ValueError, match=r"grouped by case and sorted by time.*X.sort_index\(\)"):
        to_panel(X)


def test_a_hierarchical_index():
    index = pd.MultiIndex.from_tuples([("r", "a", 0), ("r", "a", 1)])
    with pytest.raises(ValueError, match="3 levels, expected two"):
        to_panel(pd.DataFrame({"u": [1.0, 2.0]}, index=index))


def test_an_empty_multiindex():
    X = pd.DataFrame({"u": []}, index=pd.MultiIndex.from_tuples([], names=["case", "time"]))
    with pytest.raises(ValueError, match="X is empty"):
        to_panel(X)


def test_messages_call_the_argument_by_its_name():
    with pytest.raises(ValueError, match=r"X_test has 2 dimensions.*X_test\[:, None, :\]"):
        to_panel(np.zeros((2, 3)), name="X_test")


def test_only_floating_point_panels():
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32 or torch\.float64"):
        to_panel(np.zeros((1, 1, 1)), dtype=torch.float16)


def test_a_large_collection_is_read_without_a_python_loop(cube):
    """numpy3D and pd-multiindex are read by array operations: the number of calls does not grow with the cases."""

    def calls(n_cases):
        X = pd.concat(dict.fromkeys(range(n_cases), pd.DataFrame(cube[0].T)))
        count = 0

        def profile(_frame, event, _arg):
            nonlocal count
            count += event == "call"

        sys.setprofile(profile)
        try:
            to_panel(X)
            to_panel(np.repeat(cube[:1], n_cases, axis=0))
        finally:
            sys.setprofile(None)
        return count

    calls(3)  # first use fills caches
    assert calls(300) < 2 * calls(3)
