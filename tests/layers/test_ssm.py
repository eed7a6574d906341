"""State space layers along time against the published equations, written out in float64 without any code of theirs."""

import math

import numpy as np
import pytest
import torch

from tsmodels.layers import S4D, MambaBlock, MambaMixer, S4DBlock, diagonal_eigenvalues

SIZES = {"d_state": 3, "expand": 2, "d_conv": 3, "dt_rank": 2}


def tokens(n_steps=7, width=4, n_cases=2, seed=1):
    return torch.randn(n_cases, n_steps, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(layer_class, *args, **choices):
    torch.manual_seed(0)
    layer = layer_class(*args, **choices).double().eval()
    with torch.no_grad():  # away from the special values that some parameters start from
        for parameter in layer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return layer


def sigmoid(v):
    return 1 / (1 + torch.exp(-v))


def plain_mamba(mixer, x, *, reverse=False):
    """Mamba step by step: section 3.4 and figure 3 of arXiv 2312.00752, B discretised by Euler as in its code."""
    p = dict(mixer.named_parameters())
    width, n_states = p["A_log"].shape
    rank, taps = p["dt_proj.weight"].shape[1], p["conv.conv.weight"].shape[2]
    both = x @ p["in_proj.weight"].T
    u, z = both[..., :width], both[..., width:]
    A = -torch.exp(p["A_log"])
    h = torch.zeros(len(x), width, n_states, dtype=x.dtype)
    window = [torch.zeros(len(x), width, dtype=x.dtype)] * taps
    y = [None] * x.shape[1]
    for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
        window = [*window[1:], u[:, t]]
        v = p["conv.conv.bias"]
        for k in range(taps):
            v = v + p["conv.conv.weight"][:, 0, k, 0] * window[k]
        v = v * sigmoid(v)
        maps = v @ p["x_proj.weight"].T
        low, B, C = maps[:, :rank], maps[:, rank : rank + n_states], maps[:, rank + n_states :]
        dt = torch.log(1 + torch.exp(low @ p["dt_proj.weight"].T + p["dt_bias"]))
        h = torch.exp(dt[..., None] * A) * h + dt[..., None] * B[:, None] * v[..., None]
        out = (h * C[:, None]).sum(-1) + p["D"] * v
        y[t] = (out * z[:, t] * sigmoid(z[:, t])) @ p["out_proj.weight"].T
    return torch.stack(y, 1)


def plain_s4d(layer, x):
    """S4D step by step: section 3 of arXiv 2206.11893; the zero-order hold by the matrix exponential it is made of."""
    p = dict(layer.named_parameters())
    A = -torch.exp(p["log_decay"]) + 1j * p["frequency"]
    dt = torch.exp(p["log_dt"])[:, None]
    if layer.discretization == "zoh":
        held = torch.zeros(*A.shape, 2, 2, dtype=A.dtype)  # (h, x)' = (A h + x, 0)
        held[..., 0, 0], held[..., 0, 1] = A * dt, dt
        a, b = torch.linalg.matrix_exp(held)[..., 0, :].unbind(-1)
    else:
        a, b = (1 + dt / 2 * A) / (1 - dt / 2 * A), dt / (1 - dt / 2 * A)
    y = list((x * p["D"]).unbind(1))
    for direction, C in enumerate(p["C"]):
        h = torch.zeros(len(x), *A.shape, dtype=A.dtype)
        for t in range(x.shape[1]) if direction == 0 else reversed(range(x.shape[1])):
            h = a * h + b * x[:, t, :, None]
            y[t] = y[t] + 2 * ((C[..., 0] + 1j * C[..., 1]) * h).sum(-1).real
    return torch.stack(y, 1)


def assert_same_values_and_gradients(layer, function, reference, x):
    """Of the input and of every parameter."""
    x = x.clone().requires_grad_()
    inputs = {"x": x, **dict(layer.named_parameters())}
    got, expected = function(x), reference(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11 * expected.abs().max().item())
    weight = tokens(*x.shape[1:], n_cases=len(x), seed=3)
    gradients = [torch.autograd.grad((y * weight).sum(), list(inputs.values())) for y in (got, expected)]
    for name, actual, wanted in zip(inputs, *gradients, strict=True):
        scale = wanted.abs().max().item()
        assert scale > 0, name
        torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-10 * scale, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("reverse", [False, True])
def test_mamba_mixer_equals_the_equations(reverse):
    mixer = seeded(MambaMixer, 4, reverse=reverse, **SIZES)
    assert_same_values_and_gradients(
        mixer, lambda x: mixer(x)[0], lambda x: plain_mamba(mixer, x, reverse=reverse), tokens()
    )


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_s4d_equals_the_equations(discretization, bidirectional):
    layer = seeded(S4D, 3, d_state=6, discretization=discretization, bidirectional=bidirectional, dt_max=1.0)
    for n_steps in (1, 2, 9):
        x = tokens(n_steps, 3)
        if n_steps > 1:
            assert_same_values_and_gradients(layer, layer, lambda x: plain_s4d(layer, x), x)
        else:
            torch.testing.assert_close(layer(x), plain_s4d(layer, x))


def test_mamba_block_equals_the_equations():
    block = seeded(MambaBlock, 4, bidirectional=True, **SIZES)

    def plain(x):
        u = x / torch.sqrt(x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps) * block.norm.weight
        return x + plain_mamba(block.forward_mixer, u) + plain_mamba(block.backward_mixer, u, reverse=True)

    assert_same_values_and_gradients(block, block, plain, tokens())


@pytest.mark.parametrize("prenorm", [True, False])
def test_s4d_block_equals_the_equations(prenorm):
    block = seeded(S4DBlock, 4, d_state=4, prenorm=prenorm)

    def normed(v):
        centred = v - v.mean(-1, keepdim=True)
        deviation = torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
        return centred / deviation * block.norm.weight + block.norm.bias

    def plain(x):
        z = plain_s4d(block.ssm, normed(x) if prenorm else x)
        z = z * (1 + torch.erf(z / math.sqrt(2))) / 2
        z = z @ block.mix.weight.T + block.mix.bias
        y = x + z[..., :4] * sigmoid(z[..., 4:])
        return y if prenorm else normed(y)

    assert_same_values_and_gradients(block, block, plain, tokens())


@pytest.mark.parametrize("d_conv", [1, 4])
@pytest.mark.parametrize("reverse", [False, True])
def test_mamba_in_chunks_equals_the_whole(reverse, d_conv):
    mixer = seeded(MambaMixer, 4, reverse=reverse, **(SIZES | {"d_conv": d_conv}))
    x = tokens(13).requires_grad_()
    whole, last = mixer(x)
    chunks, parts, state = list(x.split((1, 1, 4, 2, 5), 1)), [], None
    for chunk in reversed(chunks) if reverse else chunks:
        y, state = mixer(chunk, state)
        parts.append(y)
    joined = torch.cat(parts[::-1] if reverse else parts, 1)
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-12)
    for actual, expected in zip(state, last, strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    losses = [(y.square().sum() + s.scan.sum() + s.window.sum()) for y, s in ((joined, state), (whole, last))]
    gradients = [torch.autograd.grad(loss, (x, *mixer.parameters())) for loss in losses]
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10 * expected.abs().max().item())


def test_s4d_stream_equals_the_convolution():
    layer, x = seeded(S4D, 3, d_state=6), tokens(13, 3)
    parts, state = [], None
    for chunk in x.split((1, 1, 4, 7), 1):
        y, state = layer.stream(chunk, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), layer(x), rtol=0, atol=1e-12)
    whole, last = layer.stream(x)
    torch.testing.assert_close(whole, layer(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(last, state, rtol=0, atol=1e-12)


def test_a_bidirectional_s4d_does_not_stream():
    with pytest.raises(ValueError, match="depends on the rest of the series"):
        S4D(3, bidirectional=True).stream(torch.zeros(1, 2, 3))


@pytest.mark.parametrize("make", [MambaBlock, S4DBlock])
def test_direction(make):
    x = tokens(9)
    changed = x.clone()
    changed[:, 5:] *= -1
    causal, both = (seeded(make, 4, bidirectional=bidirectional) for bidirectional in (False, True))
    torch.testing.assert_close(causal(changed)[:, :5], causal(x)[:, :5], rtol=0, atol=1e-13)
    assert (both(changed)[:, 0] - both(x)[:, 0]).abs().min() > 1e-9


def test_tied_directions_are_equivariant_under_reversal_of_time():
    x = tokens(9)
    mamba, s4d = seeded(MambaBlock, 4, bidirectional=True), seeded(S4DBlock, 4, bidirectional=True)
    mamba.backward_mixer.load_state_dict(mamba.forward_mixer.state_dict())
    s4d.ssm.C.data[1] = s4d.ssm.C.data[0]
    for block in (mamba, s4d):
        torch.testing.assert_close(block(x.flip(1)), block(x).flip(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [MambaBlock, S4DBlock])
def test_a_backward_walk_starts_at_the_last_valid_step(make):
    block, x = seeded(make, 4, bidirectional=True), tokens(9)
    valid = torch.arange(9) < torch.tensor([[9], [6]])
    y = block(x, valid)
    torch.testing.assert_close(y[1:, :6], block(x[1:, :6]), rtol=0, atol=1e-13)
    torch.testing.assert_close(y[:1], block(x[:1]), rtol=0, atol=1e-13)
    assert (y - block(x))[1, :6].abs().max() > 1e-6  # without `valid` the padding is walked through


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_padding_is_skipped_in_half_precision(dtype):
    x = tokens(9).to(dtype)
    mixer = seeded(MambaMixer, 4, reverse=True, **SIZES)
    y, _ = mixer.to(dtype)(x, valid=torch.arange(9) < torch.tensor([[9], [6]]))
    alone, _ = mixer(x[1:, :6])
    torch.testing.assert_close(y[1:, :6], alone, rtol=0, atol=4 * torch.finfo(dtype).eps * alone.abs().max().item())


def test_float32_convolution_is_as_exact_as_the_recurrence():
    layer = seeded(S4D, 8, d_state=64)
    x = tokens(1000, 8)
    expected = plain_s4d(layer, x)
    layer, x = layer.float(), x.float()
    for y in (layer(x), layer.stream(x)[0]):
        assert (y - expected).abs().max() < 1e-5 * expected.abs().max()


def test_eigenvalues_of_hippo_legs():
    n_states = 16
    S = np.zeros((n_states, n_states))
    for n in range(n_states):
        for k in range(n_states):
            A = -math.sqrt((2 * n + 1) * (2 * k + 1)) if n > k else (-(n + 1) if n == k else 0)
            S[n, k] = A + math.sqrt(n + 0.5) * math.sqrt(k + 0.5)
    expected = np.linalg.eigvals(S)
    expected = expected[np.argsort(expected.imag)]
    half = diagonal_eigenvalues("legs", n_states).numpy()
    got = np.concatenate([half[::-1].conj(), half])
    np.testing.assert_allclose(got, expected, atol=1e-10 * np.abs(expected).max())


def test_eigenvalues_in_closed_form():
    assert diagonal_eigenvalues("lin", 6).tolist() == pytest.approx([-0.5 + math.pi * n * 1j for n in range(3)])
    inverse = [-0.5 + 1j * 6 / math.pi * (6 / (2 * n + 1) - 1) for n in range(3)]
    assert diagonal_eigenvalues("inv", 6).tolist() == pytest.approx(inverse)
    legs, asymptote = (diagonal_eigenvalues(init, 64).imag.sort().values for init in ("legs", "inv"))
    assert 0.9 < (legs[-1] / asymptote[-1]).item() < 1.1  # what "inv" is made for


def test_initial_values():
    torch.manual_seed(0)
    mixer, layer = MambaMixer(32, dt_min=0.01, dt_max=0.2), S4D(64, d_state=8, init="lin", dt_min=0.01, dt_max=0.2)
    for steps in (torch.nn.functional.softplus(mixer.dt_bias), layer.log_dt.exp()):
        assert steps.min() >= 0.01 * (1 - 1e-5)
        assert steps.max() <= 0.2 * (1 + 1e-5)
        assert steps.log().std() > 0.5
    assert mixer.A_log.exp()[0].tolist() == pytest.approx(range(1, 17))
    assert mixer.D.tolist() == [1.0] * 64
    A = torch.complex(-layer.log_decay.exp(), layer.frequency)
    torch.testing.assert_close(A[5], diagonal_eigenvalues("lin", 8).to(torch.complex64))


@pytest.mark.parametrize(
    ("make", "choices", "message"),
    [
        (MambaMixer, {"d_state": 0}, "d_state must be at least 1"),
        (MambaMixer, {"expand": 0}, "expand must be at least 1"),
        (MambaMixer, {"d_conv": 0}, "d_conv must be at least 1"),
        (MambaMixer, {"dt_rank": 0}, "dt_rank must be 'auto' or at least 1"),
        (MambaMixer, {"dt_rank": "full"}, "dt_rank must be 'auto' or at least 1"),
        (MambaMixer, {"dt_min": 0.0}, "0 < low <= high"),
        (S4D, {"d_state": 7}, "d_state must be a positive even number"),
        (S4D, {"d_state": 0}, "d_state must be a positive even number"),
        (S4D, {"init": "fourier"}, "init must be one of 'legs', 'lin', 'inv'"),
        (S4D, {"discretization": "euler"}, "discretization must be one of 'zoh', 'bilinear'"),
        (S4D, {"dt_min": 0.2, "dt_max": 0.1}, "0 < dt_min <= dt_max"),
    ],
)
def test_bad_choices(make, choices, message):
    with pytest.raises(ValueError, match=message):
        make(4, **choices)
