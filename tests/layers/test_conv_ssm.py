import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tsmodels.layers import ConvS5Layer, ConvS5SSM, WideConvS5SSM, diagonal_eigenvalues
from tsmodels.layers._conv_ssm import complex_expm1, he_normal, legs_eigenbasis
from tsmodels.layers._conv_ssm_wide import sine_basis, sines

# channels, ssm_size, kernel_b, kernel_c, (batch, time, height, width)
SIZES = [
    (1, 2, 1, 1, (1, 1, 1, 1)),
    (3, 10, 3, 1, (3, 17, 3, 4)),
    (8, 32, 1, 5, (1, 2, 16, 16)),
    (2, 4, 5, 3, (2, 96, 4, 3)),
    (3, 4, (1, 3), (3, 1), (1, 5, 1, 7)),
]
EVERY_SIZE = pytest.mark.parametrize(("channels", "ssm_size", "kernel_b", "kernel_c", "shape"), SIZES, ids=str)
# kwargs of layers
LAYERS = [
    {},
    {"prenorm": True, "kernel_mix": 1},
    {"mixer": "standard", "stability": "clip", "groups": 4},
    {"mixer": "half_glu", "stability": "none", "blocks": 2, "kernel_b": (1, 3)},
    {"state_kernel": 3},
    {"mixer": "swiglu", "prenorm": True},
]
EVERY_LAYER = pytest.mark.parametrize("choices", LAYERS, ids=str)


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def close(got, expected, tolerance=1e-12):
    """Equal up to a share of the largest number."""
    got, expected = got.detach(), expected.detach()
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * expected.abs().max().item())


def make_ssm(*sizes, seed=0, **choices):
    torch.manual_seed(seed)
    return ConvS5SSM(*sizes, **choices).double()


def make_layer(channels=4, ssm_size=8, groups=2, seed=0, **choices):
    torch.manual_seed(seed)
    return ConvS5Layer(channels, ssm_size, groups=groups, **choices).double()


def plain(ssm, u, state):
    """The definition: complex convolutions and a loop over time."""
    eigenvalues = ssm.eigenvalues()
    a = torch.exp(eigenvalues * ssm.log_dt.exp())[:, None, None]
    B = ((torch.exp(eigenvalues * ssm.log_dt.exp()) - 1) / eigenvalues)[:, None, None, None] * torch.complex(*ssm.B)
    x, outputs = torch.complex(*state.unbind(1)), []
    for frame in u.unbind(1):
        x = a * x + F.conv2d(frame + 0j, B, padding="same")
        outputs.append(2 * F.conv2d(x, torch.complex(*ssm.C), padding="same").real)
    return torch.stack(outputs, 1), torch.stack([x.real, x.imag], 1)


def stepped(layer, u, state):
    outputs = []
    for frame in u.unbind(1):
        y, state = layer.step(frame, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


@pytest.mark.parametrize(("size", "blocks"), [(2, 1), (16, 1), (64, 1), (12, 3)])
def test_eigenbasis_diagonalises_the_normal_part_of_hippo(size, blocks):
    eigenvalues, basis = legs_eigenbasis(size, blocks)
    n = torch.arange(size // blocks).double()
    A = -torch.outer(2 * n + 1, 2 * n + 1).sqrt().tril(-1) - torch.diag(n + 1)
    S = torch.block_diag(*[A + torch.outer((n + 0.5).sqrt(), (n + 0.5).sqrt())] * blocks)
    torch.testing.assert_close(S @ S.T, S.T @ S)
    close((S + 0j) @ basis, basis * eigenvalues)
    torch.testing.assert_close(basis.mH @ basis, torch.eye(size // 2) + 0j, check_dtype=False)
    assert (eigenvalues.real == -0.5).all()
    assert (eigenvalues.imag < 0).all()
    # with the conjugates it is all of S
    restored = 2 * ((basis * eigenvalues) @ basis.mH).real
    close(restored, S)


def test_eigenvalues_are_those_of_s4d():
    eigenvalues, _ = legs_eigenbasis(32)
    torch.testing.assert_close(eigenvalues.conj().flip(0), diagonal_eigenvalues("legs", 32))


def test_he_normal_has_the_variance_of_its_fan_in():
    torch.manual_seed(0)
    weight = he_normal(64, 32, 3, 3)
    assert weight.var().item() == pytest.approx(2 / (32 * 9), rel=0.02)
    assert weight.abs().max() < 2.3 * (2 / (32 * 9)) ** 0.5


@pytest.mark.parametrize("exponent", range(-8, 4))
def test_discretisation_against_fifty_digits(exponent):
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 50
    for angle in (1.6, 2.0, 3.1):
        z = 10.0**exponent * torch.exp(torch.tensor(1j * angle, dtype=torch.complex128))
        exact = complex(mpmath.expm1(mpmath.mpc(z.real.item(), z.imag.item())))
        assert abs(complex_expm1(z).item() - exact) <= 1e-14 * abs(exact)


def test_discretised_single_precision_is_rounded_double():
    single = ConvS5SSM(3, 64, dt_min=1e-4, dt_max=1.0)
    double = copy.deepcopy(single).double()
    for got, exact in zip(single.discretised(), double.discretised(), strict=True):
        error = (got.to(exact.dtype) - exact).abs().max() / exact.abs().max()
        assert got.dtype in (torch.float32, torch.complex64)
        assert error < 1e-6


@EVERY_SIZE
def test_equals_its_definition(channels, ssm_size, kernel_b, kernel_c, shape):
    ssm = make_ssm(channels, ssm_size, kernel_b=kernel_b, kernel_c=kernel_c)
    batch, time, height, width = shape
    u = draws(batch, time, channels, height, width)
    state = draws(batch, 2, ssm_size // 2, height, width, seed=1)
    expected, last = plain(ssm, u, state)
    y, after = ssm(u, state)
    close(y, expected)
    close(after, last)
    close(ssm(u)[0], plain(ssm, u, torch.zeros_like(state))[0])


def test_equals_the_real_system_of_all_states():
    """Half of the eigenvalues and twice the real part against the real matrices that they came from; one pixel: S5."""
    ssm = make_ssm(3, 16, kernel_b=1, kernel_c=1, stability="none")
    nn.init.constant_(ssm.log_dt, -2.0)
    # the parameters are rounded to single precision when they are made
    eigenvalues, basis = legs_eigenbasis(16)
    ssm.decay.data, ssm.frequency.data = eigenvalues.real, eigenvalues.imag
    S = 2 * ((basis * eigenvalues) @ basis.mH).real
    B = 2 * (basis @ torch.complex(*ssm.B)[..., 0, 0]).real
    C = 2 * (torch.complex(*ssm.C)[..., 0, 0] @ basis.mH).real
    A = torch.matrix_exp(S * torch.tensor(-2.0).double().exp())
    B = torch.linalg.solve(S, (A - torch.eye(16)) @ B)
    u, x, outputs = draws(2, 20, 3), torch.zeros(2, 16).double(), []
    for now in u.unbind(1):
        x = x @ A.T + now @ B.T
        outputs.append(x @ C.T)
    y, _ = ssm(u[..., None, None])
    close(y[..., 0, 0], torch.stack(outputs, 1), 1e-10)


def make_wide(*sizes, seed=0, **choices):
    """A wide model whose corners differ, so that states flow."""
    torch.manual_seed(seed)
    ssm = WideConvS5SSM(*sizes, **choices).double()
    for corners in (ssm.decay, ssm.frequency):
        corners.data *= 1 + 0.3 * draws(*corners.shape, seed=1)
    return ssm


def state_matrix(corners, height, width):
    """The 3 x 3 state kernel with zero padding, as a matrix over the pixels."""
    signs = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])  # rows: a, b, c, d
    a, b, c, d = signs.to(corners.dtype) @ corners / 4
    kernel = torch.stack([d / 4, b / 2, d / 4, c / 2, a, c / 2, d / 4, b / 2, d / 4]).view(1, 1, 3, 3)
    pixels = torch.eye(height * width).to(corners.dtype).view(-1, 1, height, width)
    return F.conv2d(pixels, kernel, padding=1).flatten(1).T


@pytest.mark.parametrize(("height", "width"), [(4, 3), (1, 5), (1, 1)])
@pytest.mark.parametrize("stability", ["exp", "clip", "none"])
def test_wide_state_kernel_is_a_convolution_in_continuous_time(height, width, stability):
    ssm, u = make_wide(2, 6, dt_min=0.1, dt_max=1.0, stability=stability), draws(2, 7, 2, height, width)
    inputs = F.conv2d(u.flatten(0, 1) + 0j, torch.complex(*ssm.B), padding="same").flatten(2).unflatten(0, (2, 7))
    states = torch.zeros(2, 7, 3, height * width, dtype=torch.complex128)
    for p, (corners, dt) in enumerate(zip(ssm.eigenvalues().T, ssm.steps(), strict=True)):
        K = state_matrix(corners, height, width)
        step = torch.matrix_exp(K * dt)
        held = torch.linalg.solve(K, step - torch.eye(len(K)))
        for t in range(7):
            before = states[:, t - 1, p].clone() if t else torch.zeros(2, len(K)).to(step.dtype)
            states[:, t, p] = before @ step.T + inputs[:, t, p] @ held.T
    states = states.view(2, 7, 3, height, width)
    expected = 2 * F.conv2d(states.flatten(0, 1), torch.complex(*ssm.C), padding="same").real
    y, last = ssm(u)
    close(y.flatten(0, 1), expected, 1e-10)
    of_sines = torch.view_as_complex(last.permute(0, 3, 4, 2, 1).contiguous())
    close(in_sines(of_sines).permute(0, 3, 1, 2), states[:, -1], 1e-10)


def test_wide_state_kernel_with_equal_corners_is_that_of_a_pixel():
    ssm, wide = make_ssm(3, 8), WideConvS5SSM(3, 8).double()
    for name, parameter in ssm.named_parameters():
        getattr(wide, name).data = parameter.data.expand_as(getattr(wide, name)).clone()
    u = draws(2, 9, 3, 5, 4)
    close(wide(u)[0], ssm(u)[0])


def in_sines(x):
    return sines(x, [sine_basis(size, torch.float64, x.device) for size in x.shape[1:3]])


def test_sines_are_their_own_inverse():
    x = torch.complex(draws(2, 5, 4, 3), draws(2, 5, 4, 3, seed=1))
    close(in_sines(in_sines(x)), x)
    close(in_sines(x).abs().square().sum(), x.abs().square().sum())


def test_wide_state_kernel_carries_an_impulse_over_the_grid():
    ssm = make_wide(1, 4, kernel_b=1, kernel_c=1, dt_min=0.5, dt_max=1.0)
    u = torch.zeros(1, 3, 1, 9, 9).double()
    u[0, 0, 0, 0, 0] = 1
    y = ssm(u)[0][0, :, 0].abs()
    assert (y > 0).all()
    assert y[0, 0, 1] > 100 * y[0, 0, 8]


@EVERY_LAYER
def test_parallel_equals_stepwise(choices):
    layer, u = make_layer(**choices), draws(2, 9, 4, 5, 6)
    state = layer.zero_state(2, 5, 6, u)
    y, last = layer(u)
    expected, after = stepped(layer, u, state)
    close(y, expected)
    close(last, after)
    layer, u = layer.float(), u.float()
    close(layer(u)[0], stepped(layer, u, state.float())[0], 1e-5)


@EVERY_LAYER
def test_chunks_with_carried_state_equal_the_whole(choices):
    layer, u = make_layer(**choices), draws(2, 11, 4, 5, 6)
    whole, last = layer(u)
    first, state = layer(u[:, :1])
    second, state = layer(u[:, 1:7], state)
    third, state = layer(u[:, 7:], state)
    close(torch.cat([first, second, third], 1), whole)
    close(state, last)


@EVERY_LAYER
def test_gradients_equal_those_of_the_step_loop(choices):
    layer, u = make_layer(**choices), draws(2, 6, 4, 4, 5).requires_grad_()
    state = draws(2, 2, 4, 4, 5, seed=3).requires_grad_()
    weights = draws(2, 6, 4, 4, 5, seed=4)
    inputs = [u, state, *layer.parameters()]

    def gradients(y, last):
        return torch.autograd.grad((y * weights).sum() + last.square().sum(), inputs)

    got, expected = gradients(*layer(u, state)), gradients(*stepped(layer, u, state))
    for each, exact in zip(got, expected, strict=True):
        close(each, exact, 1e-10)
        assert exact.abs().max() > 0


@EVERY_LAYER
def test_future_frames_and_other_cases_do_not_matter(choices):
    layer, u = make_layer(**choices), draws(3, 8, 4, 4, 4)
    other = u.clone()
    other[:, 5] += draws(4, 4, 4, seed=1)
    other[2] -= draws(4, 4, 4, seed=2)
    y, changed = layer(u)[0], layer(other)[0]
    close(changed[:2, :5], y[:2, :5], 1e-13)
    assert (changed[:2, 5:] - y[:2, 5:]).abs().amin((0, 2, 3, 4)).min() > 0
    close(changed[:2, :5], layer(u[:2, :5])[0], 1e-13)


def test_linear_in_input_and_state():
    ssm = make_ssm(3, 8)
    u, v = draws(2, 7, 3, 4, 5), draws(2, 7, 3, 4, 5, seed=1)
    x, z = draws(2, 2, 4, 4, 5, seed=2), draws(2, 2, 4, 4, 5, seed=3)
    for combined, one, other in zip(ssm(2 * u - 3 * v, 2 * x - 3 * z), ssm(u, x), ssm(v, z), strict=True):
        close(combined, 2 * one - 3 * other)


def test_an_impulse_reaches_as_far_as_the_two_kernels():
    ssm = make_ssm(1, 4, kernel_b=3, kernel_c=5)
    u = torch.zeros(1, 4, 1, 15, 15).double()
    u[0, 0, 0, 7, 7] = 1
    y = ssm(u)[0][0, :, 0].abs().amax(0)
    reach = torch.zeros(15, 15, dtype=torch.bool)
    reach[4:11, 4:11] = True
    assert torch.equal(y > 0, reach)


def test_reverse_walks_backwards():
    ssm, u = make_ssm(3, 8), draws(2, 7, 3, 4, 5)
    backwards = copy.deepcopy(ssm)
    backwards.reverse = True
    (y, last), (expected, after) = backwards(u), ssm(u.flip(1))
    close(y, expected.flip(1), 1e-13)
    close(last, after, 1e-13)


def test_bidirectional_layer_adds_both_walks_and_skips_padding():
    layer, u = make_layer(bidirectional=True), draws(2, 9, 4, 3, 4)
    y, state = layer(u)
    against = copy.deepcopy(layer.backward_ssm)
    against.reverse = False
    both = layer.ssm(u)[0] + against(u.flip(1))[0].flip(1)
    expected = layer.norm(u.flatten(0, 1) + layer.mixer(both.flatten(0, 1), u.flatten(0, 1)))
    close(y.flatten(0, 1), expected)
    assert state is None
    valid = torch.arange(9) < torch.tensor([[9], [5]])
    padded = torch.where(valid[..., None, None, None], u, 1e3)
    close(layer(padded, valid=valid)[0][1, :5], layer(u[1:, :5])[0][0])


def test_mixers_are_their_formulas():
    u = draws(6, 4, 5, 5)

    def group_norm(x):
        return F.group_norm(x, 2)

    layer = make_layer(groups=6)
    y = layer.ssm(u[None])[0][0]
    first, second = layer.mixer.branch[2], layer.mixer.branch[5]
    expected = F.gelu(y + second(F.gelu(group_norm(first(F.gelu(group_norm(y)))))))
    torch.testing.assert_close(layer.mixer(y, u), expected)
    mixer = make_layer(groups=2, mixer="standard").mixer
    torch.testing.assert_close(mixer(y, u), F.gelu(group_norm(y + F.conv2d(u, mixer.D.weight, padding=1))))
    mixer = make_layer(mixer="half_glu").mixer
    z = F.gelu(F.layer_norm(y.movedim(1, -1), (4,)))
    gated = z * torch.sigmoid(F.linear(z, mixer.gate.weight[..., 0, 0], mixer.gate.bias))
    torch.testing.assert_close(mixer(y, u), gated.movedim(-1, 1))
    mixer = make_layer(mixer="swiglu").mixer
    n = F.layer_norm(y.movedim(1, -1), (4,))
    of_y, of_u = mixer.gate.weight.split(4, 1)
    gate = F.linear(n, of_y) + F.linear(u.movedim(1, -1), of_u) + mixer.gate.bias
    gated = mixer.out(mixer.value(n) * gate / (1 + (-gate).exp()))
    torch.testing.assert_close(mixer(y, u), gated.movedim(-1, 1))


@pytest.mark.parametrize("log_dt", [-9.21, -4.6, 0.0])
def test_long_random_input_stays_below_the_bound(log_dt):
    ssm = make_ssm(1, 8, kernel_b=1, kernel_c=1)
    nn.init.constant_(ssm.log_dt, log_dt)
    u = 2 * torch.rand(1, 10_000, 1, 1, 1, generator=torch.Generator().manual_seed(0)).double() - 1
    a, B, _ = ssm.discretised()
    _, last = ssm(u)
    size = torch.view_as_complex(last[0, ..., 0, 0].T.contiguous()).abs()
    gain = torch.view_as_complex(B.view(4, 2)).abs()
    assert (size <= gain / (1 - a.abs())).all()


@pytest.mark.parametrize("make", [make_ssm, make_wide])
@pytest.mark.parametrize("stability", ["exp", "clip"])
def test_no_training_makes_the_states_grow(make, stability):
    ssm = make(2, 8, stability=stability)
    optimiser = torch.optim.Adam(ssm.parameters(), lr=1.0)
    u = draws(2, 12, 2, 3, 3)
    for _ in range(100):
        optimiser.zero_grad()
        y, _ = ssm(u)
        (-y.square().mean()).backward()  # rewards large states
        optimiser.step()
        ssm.log_dt.data.clamp_(min=-10)  # far smaller steps round |a| to 1
    assert (ssm.discretised().on_grid(3, 3).a.abs() < 1).all()
    assert (ssm.eigenvalues().real <= -1e-4).all()


def test_steps_scale():
    ssm = make_ssm(2, 8)
    a = ssm.discretised().a
    ssm.dt_scale = 3.0
    torch.testing.assert_close(ssm.discretised().a, a**3)


def test_stepper_sees_changed_weights_when_it_is_made_again():
    layer, u = make_layer(), draws(2, 4, 3, 3)
    state = layer.zero_state(2, 3, 3, u)
    stepper = layer.stepper()
    assert torch.equal(stepper(u, state)[0], layer.step(u, state)[0])
    nn.init.constant_(layer.ssm.log_dt, 0.0)
    assert not torch.equal(stepper(u, state)[0], layer.step(u, state)[0])
    assert torch.equal(layer.stepper()(u, state)[0], layer.step(u, state)[0])


@pytest.mark.parametrize("state_kernel", [1, 3])
def test_autocast_keeps_the_recurrence_in_single_precision(state_kernel):
    layer, u = make_layer(mixer="half_glu", state_kernel=state_kernel).float(), draws(2, 30, 4, 5, 5).float()
    expected, _ = layer(u)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(u)
    assert state.dtype == torch.float32
    close(y.float(), expected, 0.06)


def test_copies_pickles_and_undecayed_parameters():
    layer, u = make_layer(), draws(1, 3, 4, 3, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(u)[0], layer(u)[0])
    assert layer.ssm.no_weight_decay <= dict(layer.ssm.named_parameters()).keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stability": "hard"}, "stability must be one of"),
        ({"mixer": "glu"}, "mixer must be one of"),
        ({"state_kernel": 2}, "state_kernel must be one of 1, 3; got 2"),
        ({"kernel_b": 2}, "kernel_b must be odd and positive, got 2"),
        ({"kernel_c": (3, 0)}, "kernel_c must be odd"),
        ({"kernel_mix": 4}, "kernel must be odd"),
        ({"dt_min": 0.0}, "0 < dt_min <= dt_max"),
        ({"dt_scale": -1.0}, "dt_scale > 0"),
        ({"ssm_size": 7}, "ssm_size must be a positive multiple"),
        ({"blocks": 3}, "ssm_size must be a positive multiple"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
    ],
    ids=str,
)
def test_bad_choices_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make_layer(**change)


def test_what_depends_on_the_future_neither_steps_nor_carries_a_state():
    layer, u = make_layer(bidirectional=True), draws(1, 3, 4, 3, 3)
    with pytest.raises(ValueError, match="cannot step"):
        layer.step(u[:, 0], layer.zero_state(1, 3, 3, u))
    with pytest.raises(ValueError, match="carries no state"):
        layer(u, layer.zero_state(1, 3, 3, u))
    with pytest.raises(ValueError, match="cannot step"):
        make_ssm(4, 8, reverse=True).step(u[:, 0], layer.zero_state(1, 3, 3, u))
