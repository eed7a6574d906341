"""Schedules, special cases, closed forms and stability of the two-axis recurrence."""

import math

import numpy as np
import pytest
import torch
from scan2d import arguments, assert_close, gradients, scan

from tsmodels_kernels import linear_scan, selective_scan_2d
from tsmodels_kernels._selective_scan_2d.options import Options
from tsmodels_kernels._selective_scan_2d.ref import gates, inputs, pooled_scan, roesser_scan

F64 = torch.float64
B, T, V, N = 1, 7, 5, 3


def uniform(low, high, *shape, seed=0):
    return torch.empty(*shape, dtype=F64).uniform_(low, high, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def system():
    """Gates of both signs, inputs, and states of the column before the first."""
    a = [uniform(-0.6, 0.6, B, T, V, N, seed=s) for s in range(4)]
    u = [uniform(-1, 1, B, T, V, N, seed=4 + s) for s in range(2)]
    h = [uniform(-1, 1, B, V, N, seed=6 + s) for s in range(2)]
    return *a, *u, *h


def zeros_like_state():
    return torch.zeros(B, V, N, dtype=F64), torch.zeros(B, V, N, dtype=F64)


def shifted(x, axis, first):
    """``x`` moved by one along the axis, with ``first`` in front."""
    return torch.cat([first.unsqueeze(axis), x.narrow(axis, 0, x.shape[axis] - 1)], axis)


def row_sweep(a1, a2, a3, a4, u1, u2, h1, h2):
    rows1, rows2 = [], []
    for v in range(V):
        second = u2[:, :, v] if v == 0 else a3[:, :, v] * rows1[-1] + a4[:, :, v] * rows2[-1] + u2[:, :, v]
        entering = a2[:, :, v] * shifted(second, 1, h2[:, v]) + u1[:, :, v]
        rows1.append(linear_scan(a1[:, :, v], entering, state=h1[:, v])[0])
        rows2.append(second)
    return torch.stack(rows1, 2), torch.stack(rows2, 2)


def column_sweep(a1, a2, a3, a4, u1, u2, h1, h2):
    columns1, columns2 = [], []
    for t in range(T):
        h1 = a1[:, t] * h1 + a2[:, t] * h2 + u1[:, t]
        entering = a3[:, t] * shifted(h1, 1, torch.zeros_like(h1[:, 0])) + u2[:, t]
        h2 = linear_scan(a4[:, t], entering)[0]
        columns1.append(h1)
        columns2.append(h2)
    return torch.stack(columns1, 1), torch.stack(columns2, 1)


def wavefront(a1, a2, a3, a4, u1, u2, h1, h2):
    grid1, grid2 = (torch.zeros(B, T + 1, V + 1, N, dtype=F64) for _ in range(2))
    grid1[:, 0, 1:], grid2[:, 0, 1:] = h1, h2
    for k in range(V + T - 1):
        v = torch.arange(max(0, k - T + 1), min(V, k + 1))
        t = k - v
        new1 = a1[:, t, v] * grid1[:, t, v + 1] + a2[:, t, v] * grid2[:, t, v + 1] + u1[:, t, v]
        new2 = a3[:, t, v] * grid1[:, t + 1, v] + a4[:, t, v] * grid2[:, t + 1, v] + u2[:, t, v]
        grid1[:, t + 1, v + 1], grid2[:, t + 1, v + 1] = new1, new2
    return grid1[:, 1:, 1:], grid2[:, 1:, 1:]


def gauss_seidel(a1, a2, a3, a4, u1, u2, h1, h2, rounds):
    s1 = s2 = torch.zeros_like(u1)
    nothing = torch.zeros_like(u1[:, :, 0])
    for _ in range(rounds):
        s1 = linear_scan(a1, a2 * shifted(s2, 1, h2) + u1, state=h1)[0]
        entering = a3 * shifted(s1, 2, nothing) + u2
        s2 = linear_scan(a4.transpose(1, 2), entering.transpose(1, 2))[0].transpose(1, 2)
    return s1, s2


@pytest.mark.parametrize("schedule", [row_sweep, column_sweep, wavefront])
def test_schedules_equal_the_triple_loop(system, schedule):
    for got, want in zip(schedule(*system), roesser_scan(*system), strict=True):
        assert_close(got, want, 1e-14)


def test_gauss_seidel_is_exact_after_its_rounds_and_not_before(system):
    rounds = min(V, T - 1) + 1
    expected = roesser_scan(*system)
    for got, want in zip(gauss_seidel(*system, rounds), expected, strict=True):
        assert_close(got, want, 1e-14)
    assert (gauss_seidel(*system, 2)[0] - expected[0]).abs().max() > 1e-6


@pytest.mark.parametrize("absent", ["a2", "a3"])
def test_one_sided_coupling_is_two_nested_scans(system, absent):
    a1, a2, a3, a4, u1, u2, h1, h2 = system
    nothing = torch.zeros_like(u1[:, :, 0])

    def over_variates(gate, term):
        return linear_scan(gate.transpose(1, 2), term.transpose(1, 2))[0].transpose(1, 2)

    if absent == "a2":
        a2 = torch.zeros_like(a2)
        s1 = linear_scan(a1, u1, state=h1)[0]
        s2 = over_variates(a4, a3 * shifted(s1, 2, nothing) + u2)
    else:
        a3 = torch.zeros_like(a3)
        s2 = over_variates(a4, u2)
        s1 = linear_scan(a1, a2 * shifted(s2, 1, h2) + u1, state=h1)[0]
    for got, want in zip((s1, s2), roesser_scan(a1, a2, a3, a4, u1, u2, h1, h2), strict=True):
        assert_close(got, want, 1e-14)


def decay_and_input(tensors, axis):
    """exp(-dt alpha) and dt x B of one axis, (B, T, V, D, N)."""
    x, dt, b = tensors[0], tensors[axis], tensors[2 + axis]
    return torch.exp(-dt[..., None] * tensors[7 if axis == 1 else 10]), dt[..., None] * x[..., None] * b[..., None, :]


def test_mamba_per_variate_without_coupling():
    tensors = arguments(2, 9, 3, 6, 4)
    tensors[6] = torch.zeros_like(tensors[6])
    y, h1, _ = scan(tensors, coupling="none")
    states, last = linear_scan(*decay_and_input(tensors, 1), state=tensors[12])
    assert_close(y, (states * tensors[5][..., None, :]).sum(-1) + tensors[11] * tensors[0], 1e-14)
    assert_close(h1, last, 1e-14)


def test_two_independent_scans_add_up():
    tensors = arguments(2, 9, 3, 6, 4)
    along_time = linear_scan(*decay_and_input(tensors, 1), state=tensors[12])[0]
    gate, term = decay_and_input(tensors, 2)
    along_variates = linear_scan(gate.transpose(1, 2), term.transpose(1, 2))[0].transpose(1, 2)
    expected = (along_time * tensors[5][..., None, :] + along_variates * tensors[6][..., None, :]).sum(-1)
    assert_close(scan(tensors, coupling="none")[0], expected + tensors[11] * tensors[0], 1e-14)


def test_single_variate_and_single_step():
    one_variate = arguments(2, 9, 1, 4, 3)
    a1, a2, _, _ = gates(one_variate[1], one_variate[2], *one_variate[7:11], Options())
    u1, u2 = inputs(*one_variate[:5], one_variate[7], one_variate[10], Options())
    s1 = linear_scan(a1, u1 + a2 * shifted(u2, 1, one_variate[13]), state=one_variate[12])[0]
    expected = (s1 * one_variate[5][..., None, :] + u2 * one_variate[6][..., None, :]).sum(-1)
    assert_close(scan(one_variate)[0], expected + one_variate[11] * one_variate[0], 1e-14)

    one_step = arguments(2, 1, 9, 4, 3)
    y, h1, h2 = selective_scan_2d(*one_step[:12])[0], *selective_scan_2d(*one_step[:12])[1]
    _, _, a3, a4 = gates(one_step[1], one_step[2], *one_step[7:11], Options())
    u1, u2 = inputs(*one_step[:5], one_step[7], one_step[10], Options())
    entering = a3[:, 0] * shifted(u1[:, 0], 1, torch.zeros_like(u1[:, 0, 0])) + u2[:, 0]
    s2 = linear_scan(a4[:, 0], entering)[0]
    assert_close(h1, u1[:, 0], 1e-14)
    assert_close(h2, s2, 1e-14)
    assert torch.isfinite(y).all()


def test_autoregression_is_a_diagonalised_companion_along_time():
    """AR(p): A1 companion, A2 = A3 = A4 = 0; its eigenvalues are complex gates of the recurrence."""
    coefficients = np.array([0.5, -0.6, 0.2])
    companion = np.diag(np.ones(2), -1)
    companion[0] = coefficients
    eigenvalues, vectors = np.linalg.eig(companion)
    noise = np.random.default_rng(0).normal(size=T)
    series = np.zeros(T + 3)
    for t in range(T):
        series[t + 3] = coefficients @ series[t : t + 3][::-1] + noise[t]
    entering = np.linalg.solve(vectors, np.eye(3)[:, 0])
    gate = torch.tensor(eigenvalues).expand(1, T, 1, 3)
    nothing, state = torch.zeros_like(gate), torch.zeros(1, 1, 3, dtype=gate.dtype)
    u1 = torch.tensor(noise[None, :, None, None] * entering)
    h1, _ = roesser_scan(gate, nothing, nothing, nothing, u1, torch.zeros_like(u1), state, state)
    assert_close(torch.tensor((h1[0, :, 0].numpy() @ vectors[0]).real), torch.tensor(series[3:]), 1e-12)


def test_mamba2_dual_by_green_functions():
    """alpha, rho constant over n: y[c] = sum C_i[c].B_j[c'] G_ij[c,c'] dt_j[c'] x[c'] with scalar Green functions G."""
    tensors = arguments(1, 4, 3, 1, 4)
    tensors[7:11] = [t[:, :1] for t in tensors[7:11]]
    x, dt1, dt2, B1, B2, C1, C2 = tensors[:7]
    scalar = [g[..., 0] for g in gates(dt1, dt2, *tensors[7:11], Options())]
    nothing = torch.zeros(1, 3, 1, dtype=F64)
    y = torch.zeros(4, 3, dtype=F64)
    for t in range(4):
        for v in range(3):
            for b, dt, impulse in ((B1, dt1, 0), (B2, dt2, 1)):
                u = [torch.zeros(1, 4, 3, 1, dtype=F64) for _ in range(2)]
                u[impulse][0, t, v] = dt[0, t, v] * x[0, t, v]
                for c, green in zip((C1, C2), roesser_scan(*scalar, *u, nothing, nothing), strict=True):
                    y += (c[0] * b[0, t, v]).sum(-1) * green[0, ..., 0]
    assert_close(selective_scan_2d(*tensors[:11])[0][0, ..., 0], y, 1e-13)


def test_2dmamba_scans_time_then_variates_with_the_same_gate():
    a, u = uniform(0.2, 0.9, B, T, V, N), uniform(-1, 1, B, T, V, N, seed=1)
    none = torch.zeros_like(u)
    horizontal = linear_scan(a, u)[0]
    both = linear_scan(a.transpose(1, 2), horizontal.transpose(1, 2))[0].transpose(1, 2)
    h1, h2 = roesser_scan(a, none, a, a, u, none, *zeros_like_state())
    assert_close(h1 + h2, both, 1e-14)


def fornasini_marchesini(aL, aT, bL, bT, weight_left, weight_top):
    h = torch.zeros(B, T, V, N, dtype=F64)
    for t in range(T):
        for v in range(V):
            left = aL[:, t, v] * h[:, t - 1, v] if t else 0
            top = aT[:, t, v] * h[:, t, v - 1] if v else 0
            h[:, t, v] = weight_left[t, v] * (left + bL[:, t, v]) + weight_top[t, v] * (top + bT[:, t, v])
    return h


@pytest.mark.parametrize("border", ["halved", "as released"])
def test_mamba2d_is_a_fornasini_marchesini_recurrence(border):
    aL, aT = uniform(0.2, 0.9, B, T, V, N), uniform(0.2, 0.9, B, T, V, N, seed=1)
    bL, bT = uniform(-1, 1, B, T, V, N, seed=2), uniform(-1, 1, B, T, V, N, seed=3)
    left, top = torch.full((T, V), 0.5, dtype=F64), torch.full((T, V), 0.5, dtype=F64)
    if (
        border == "as released"
    ):  # the borders are not halved: (1, 0) in the first row and the origin, (0, 1) in the column
        left[0, :], top[0, :] = 0.0, 1.0
        left[:, 0], top[:, 0] = 1.0, 0.0
    wl, wt = left[None, :, :, None], top[None, :, :, None]
    h1, h2 = roesser_scan(wl * aL, wl * aL, wt * aT, wt * aT, wl * bL, wt * bT, *zeros_like_state())
    assert_close(h1 + h2, fornasini_marchesini(aL, aT, bL, bT, left, top), 1e-14)


def test_two_dimensional_ssm_with_halved_sigmoid_gates():
    """2-D SSM (ICLR 2024): time-invariant, a_i = sigmoid / 2: the kernel equals the sum over all lattice paths."""
    a = [torch.sigmoid(uniform(-1, 1, N, seed=s)) / 2 for s in range(4)]
    b = [uniform(-1, 1, N, seed=4 + s) for s in range(2)]
    impulse = torch.zeros(1, T, V, N, dtype=F64)
    impulse[:, 0, 0] = 1
    h = roesser_scan(*(g.expand(1, T, V, N) for g in a), b[0] * impulse, b[1] * impulse, *zeros_like_state())
    transition = np.zeros((T, V, 2, N))
    for n in range(N):
        step_t, step_v = np.array([[a[0][n], a[1][n]], [0, 0]]), np.array([[0, 0], [a[2][n], a[3][n]]])
        paths = {(0, 0): np.array([b[0][n], b[1][n]])}
        for t in range(T):
            for v in range(V):
                if (t, v) != (0, 0):
                    paths[t, v] = sum(
                        (m @ paths[p] for m, p in ((step_t, (t - 1, v)), (step_v, (t, v - 1))) if p in paths),
                        np.zeros(2),
                    )
                transition[t, v, :, n] = paths[t, v]
    for i in range(2):
        assert_close(h[i][0], torch.tensor(transition[:, :, i]), 1e-14)


def test_s4nd_separable_kernel_dense():
    """A2 = 0, A3 = A4 b_v c_t^T: with dense matrices per axis the impulse response is K_v(v) K_t(t)."""
    rng = np.random.default_rng(0)
    A_t, A_v = (0.5 * rng.normal(size=(N, N)) for _ in range(2))
    b_t, b_v, c_t, c_v = rng.normal(size=(4, N))
    A3, C1 = A_v @ np.outer(b_v, c_t), (c_v @ b_v) * c_t
    h1, h2 = np.zeros((T, V, N)), np.zeros((T, V, N))
    for t in range(T):
        for v in range(V):
            h1[t, v] = (A_t @ h1[t - 1, v] if t else 0) + (b_t if t == v == 0 else 0)
            h2[t, v] = A3 @ h1[t, v - 1] + A_v @ h2[t, v - 1] if v else 0
    time = np.array([c_t @ np.linalg.matrix_power(A_t, t) @ b_t for t in range(T)])
    variate = np.array([c_v @ np.linalg.matrix_power(A_v, v) @ b_v for v in range(V)])
    np.testing.assert_allclose(h1 @ C1 + h2 @ c_v, np.outer(time, variate), atol=1e-12)


def test_s4nd_separable_kernel_diagonal():
    """N^2 lattices (n, m): a1 = a_t, a2 = 0, a3 = a4 = a_v, b1 = b_t, b2 = 0, weight c_t c_v b_v on h1 + h2."""
    a_t, a_v = uniform(-0.9, 0.9, N), uniform(-0.9, 0.9, N, seed=1)
    b_t, b_v, c_t, c_v = (uniform(-1, 1, N, seed=2 + s) for s in range(4))
    time_gate = a_t[:, None].expand(N, N).flatten().expand(1, T, V, N * N)
    variate_gate = a_v.expand(N, N).flatten().expand(1, T, V, N * N)
    impulse = torch.zeros(1, T, V, N * N, dtype=F64)
    impulse[:, 0, 0] = b_t[:, None].expand(N, N).flatten()
    none, state = torch.zeros_like(impulse), torch.zeros(1, V, N * N, dtype=F64)
    h1, h2 = roesser_scan(time_gate, none, variate_gate, variate_gate, impulse, none, state, state)
    kernel = ((h1 + h2) * (c_t[:, None] * c_v * b_v).flatten()).sum(-1)[0]
    over_time = torch.stack([(c_t * a_t**t * b_t).sum() for t in range(T)])
    over_variates = torch.stack([(c_v * a_v**v * b_v).sum() for v in range(V)])
    assert_close(kernel, over_time[:, None] * over_variates, 1e-13)


def test_plstm_propagation_keeps_mass():
    """Gates of the source cell, a1 = a2 = alpha, a3 = a4 = 1 - alpha: each anti-diagonal holds the whole impulse."""
    side = 6
    alpha = uniform(0, 1, 1, side, side, 1)
    h = torch.zeros(side, side, 2, dtype=F64)
    h[0, 0] = torch.tensor([1.0, 0.0])
    for t in range(side):
        for v in range(side):
            if t:
                h[t, v, 0] += alpha[0, t - 1, v, 0] * h[t - 1, v].sum()
            if v:
                h[t, v, 1] += (1 - alpha[0, t, v - 1, 0]) * h[t, v - 1].sum()
    # the same through the recurrence: a destination cell takes the gates of the cells it hears
    at_time, at_variate = torch.zeros_like(alpha), torch.zeros_like(alpha)
    at_time[:, 1:], at_variate[:, :, 1:] = alpha[:, :-1], 1 - alpha[:, :, :-1]
    impulse = torch.zeros_like(alpha)
    impulse[0, 0, 0] = 1
    state = torch.zeros(1, side, 1, dtype=F64)
    h1, h2 = roesser_scan(at_time, at_time, at_variate, at_variate, impulse, 0 * impulse, state, state)
    assert_close(torch.cat([h1, h2], -1)[0], h, 1e-14)
    mass = (h1 + h2)[0, ..., 0]
    for k in range(side):
        assert sum(mass[k - v, v].item() for v in range(k + 1)) == pytest.approx(1, abs=1e-13)


def test_pooled_coupling_is_permutation_equivariant():
    tensors = arguments(2, 6, 5, 4, 3, requires_grad=True)
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = [t[:, :, order] for t in tensors[:7]] + tensors[7:12] + [h[:, order] for h in tensors[12:]]
    y, h1, h2 = scan(tensors, coupling="pooled")
    permuted = scan(moved, coupling="pooled")
    straight = (y[:, :, order], h1[:, order], h2[:, order])
    for got, want in zip(permuted, straight, strict=True):
        assert_close(got, want, 1e-14)
    for got, want in zip(gradients(permuted, tensors), gradients(straight, tensors), strict=True):
        assert_close(got, want, 1e-12)
    assert (scan(moved)[0] - scan(tensors)[0][:, :, order]).abs().max() > 0.1  # a scan depends on the order


def test_pooled_modes_are_a1_for_deviations_and_a1_plus_a2_a3_for_the_mean():
    a1, a2, a3 = 0.7, 0.4, -0.5
    shape = (1, T, V, 1, 1)
    h1 = uniform(-1, 1, 1, V, 1, 1)
    h2 = a3 * h1.mean(1, keepdim=True).expand_as(h1)  # consistent with the column before
    full = [torch.full(shape, g, dtype=F64) for g in (a1, a2, a3)]
    none = torch.zeros(shape, dtype=F64)
    s1, _ = pooled_scan(*full, none, none, h1, h2, torch.tensor([V]))
    s1, h1 = s1.flatten(2), h1.flatten(1)
    mean, deviation = s1.mean(2), s1 - s1.mean(2, keepdim=True)
    for t in range(T):
        assert_close(mean[:, t], h1.mean(1) * (a1 + a2 * a3) ** (t + 1), 1e-13)
        assert_close(deviation[:, t], (h1 - h1.mean(1, keepdim=True)) * a1 ** (t + 1), 1e-13)


def invariant_system(D=1, n_states=N, seed=0):
    """Time-invariant arguments of the operator, without batch, time and variate axes."""
    tensors = arguments(1, 1, 1, D, n_states, seed=seed)
    return tensors[:12]


def run_invariant(parameters, x, state=None, **options):
    """The operator with the same steps and maps in every cell; x (T, V, D)."""
    steps, variates = x.shape[:2]
    per_cell = [p.expand(1, steps, variates, -1) for p in parameters[1:7]]
    return selective_scan_2d(x[None], *per_cell, *parameters[7:11], state=state, **options)


def path_weights(a1, a4, cross, size):
    w = np.zeros((size + 1, size + 1))  # w[i, j] of the specification at [i, j]; the last row and column stay 0
    for i in range(size):
        for j in range(size):
            w[i, j] = sum(
                math.comb(i, k) * math.comb(j, k) * cross**k * a1 ** (i - k) * a4 ** (j - k)
                for k in range(min(i, j) + 1)
            )
    return w


def test_impulse_response_equals_the_closed_form():
    parameters = invariant_system()
    side = 6
    impulse = torch.zeros(side, side, 1, dtype=F64)
    impulse[0, 0] = 1
    got = run_invariant(parameters, impulse)[0][0, ..., 0]
    (a1, a2, a3, a4) = (g.view(-1) for g in gates(*parameters[1:3], *parameters[7:11], Options()))
    b1, b2 = (dt.item() * b.view(-1) for dt, b in ((parameters[1], parameters[3]), (parameters[2], parameters[4])))
    c1, c2 = parameters[5].view(-1), parameters[6].view(-1)
    kernel = np.zeros((side, side))
    for n in range(N):
        w = path_weights(a1[n].item(), a4[n].item(), (a2[n] * a3[n]).item(), side)
        for t in range(side):
            for v in range(side):  # index -1 is the zero border
                k1 = b1[n] * (w[t, v] - a4[n] * w[t, v - 1]) + b2[n] * a2[n] * w[t - 1, v]
                k2 = b1[n] * a3[n] * w[t, v - 1] + b2[n] * (w[t, v] - a1[n] * w[t - 1, v])
                kernel[t, v] += (c1[n] * k1 + c2[n] * k2).item()
    assert_close(got, torch.tensor(kernel), 1e-13)


def test_convolution_by_fft_equals_the_scan():
    parameters = invariant_system(D=2)
    x = uniform(-1, 1, T, V, 2, seed=9)
    impulse = torch.zeros(T, V, 2, dtype=F64)
    impulse[0, 0] = 1
    kernel = run_invariant(parameters, impulse)[0][0]
    size = (2 * T, 2 * V)
    spectrum = torch.fft.rfft2(kernel, size, (0, 1)) * torch.fft.rfft2(x, size, (0, 1))
    convolved = torch.fft.irfft2(spectrum, size, (0, 1))[:T, :V]
    assert_close(run_invariant(parameters, x)[0][0], convolved, 1e-13)


def test_rank_of_the_kernel_needs_both_couplings():
    w = path_weights(0.7, 0.6, 0.25 * -0.3, 5)[:5, :5]
    assert np.linalg.det(w) == pytest.approx((0.25 * -0.3) ** 10, rel=1e-6)
    parameters = invariant_system(n_states=1)
    impulse = torch.zeros(8, 8, 1, dtype=F64)
    impulse[0, 0] = 1

    def rank(**options):
        return torch.linalg.matrix_rank(run_invariant(parameters, impulse, **options)[0][0, ..., 0], rtol=1e-9)

    assert rank(coupling="full") > 2
    assert rank(coupling="t2v") == rank(coupling="v2t") == 2


def test_selective_scan_stays_below_its_bound_at_every_step_size():
    steps, variates, channels = 10_000, 4, 4
    dt = torch.logspace(-4, 1, channels, dtype=F64).expand(1, steps, variates, channels)
    rate = torch.ones(channels, 1, dtype=F64)
    ones = torch.ones(1, steps, variates, 1, dtype=F64)
    x = torch.ones(1, steps, variates, channels, dtype=F64)
    for sign in (1, -1):
        rho = torch.full((channels, 1), 0.99, dtype=F64)
        _, (h1, h2) = selective_scan_2d(
            x, dt, dt, ones, ones, ones, ones, rate, rho, sign * rho, rate, input_rule="zoh"
        )
        assert torch.isfinite(h1).all()
        assert max(h1.abs().max(), h2.abs().max()) <= 1 / (1 - 0.99)


@pytest.mark.parametrize(("a1", "a4"), [(0.5, 0.5), (0.8, 0.3)])
def test_stability_limit_of_the_coupling_product(a1, a4):
    """rho2 rho3 = 1 is the upper limit: at 0.9 of it an impulse along all variates dies out, at 1.1 it grows.

    Far from the first variate the state is constant along variates, where h2 = rho3 h1 and so
    h1[t] = (a1 + (1 - a1) rho2 rho3) h1[t-1].
    """
    steps, variates = 40, 250
    impulse = torch.zeros(1, steps, variates, 1, dtype=F64)
    impulse[:, 0] = 1
    state = torch.zeros(1, variates, 1, dtype=F64)
    for product in (0.9, 1.1):
        rho = math.sqrt(product)
        constants = (torch.full_like(impulse, g) for g in (a1, (1 - a1) * rho, (1 - a4) * rho, a4))
        far = roesser_scan(*constants, impulse, 0 * impulse, state, state)[0][0, :, -1, 0]
        growth = a1 + (1 - a1) * product
        assert (growth > 1) == (product > 1)
        assert_close(far[1:] / far[:-1], torch.full((steps - 1,), growth, dtype=F64), 1e-9)


def test_literal_gates_warn_and_blow_up_where_exact_hold_does_not():
    steps, variates = 96, 21
    ones = torch.ones(1, steps, variates, 1, dtype=F64)
    rate, dt, rho = torch.ones(1, 1, dtype=F64), 0.01 * ones, torch.ones(1, 1, dtype=F64)
    arguments_ = (ones, dt, dt, ones, ones, ones, ones, rate, rho, rho, rate)
    with pytest.warns(UserWarning, match="unstable for small step sizes"):
        blown = selective_scan_2d(*arguments_, gates="literal")[1][0]
    assert blown.abs().max() > 1e18
    assert selective_scan_2d(*arguments_, gates="half")[1][0].abs().max() < 1
    exact = selective_scan_2d(*arguments_, input_rule="zoh")[1][0]
    assert exact.abs().max() < 1


def closed_loop(parameters, gain1, gain2, state, horizon, backend):
    """Forecast by feeding back x[v,t] = gain1 . h1[v,t-1] + gain2 . h2[v,t-1], one column at a time."""
    forecasts = []
    for _ in range(horizon):
        x = (gain1 * state[0] + gain2 * state[1]).sum(-1)[:, None]
        per_cell = [p.expand(1, 1, V, -1) for p in parameters[1:7]]
        _, state = selective_scan_2d(x, *per_cell, *parameters[7:11], state=state, backend=backend)
        forecasts.append(x)
    return torch.cat(forecasts, 1), state


def test_closed_loop_equals_powers_of_the_column_map():
    parameters = invariant_system(D=2)
    gains = uniform(-0.3, 0.3, 2, N), uniform(-0.3, 0.3, 2, N, seed=1)
    start = [uniform(-1, 1, 1, V, 2, N, seed=s) for s in (2, 3)]

    def column_map(flat):
        state = flat.view(2, 1, V, 2, N)
        return torch.stack(closed_loop(parameters, *gains, tuple(state), 1, "cpu")[1]).flatten()

    size = 2 * V * 2 * N
    matrix = torch.stack([column_map(e) for e in torch.eye(size, dtype=F64)], 1)
    _, last = closed_loop(parameters, *gains, tuple(start), 6, "cpu")
    expected = torch.linalg.matrix_power(matrix, 6) @ torch.stack(start).flatten()
    assert_close(torch.stack(last).flatten(), expected, 1e-12)


def test_gradient_through_the_closed_loop_equals_autograd_of_the_definition():
    gradients_of = {}
    for backend in ("cpu", "reference"):
        parameters = [p.clone().requires_grad_() for p in invariant_system(D=2)]
        gains = [uniform(-0.3, 0.3, 2, N, seed=s).requires_grad_() for s in (0, 1)]
        start = [uniform(-1, 1, 1, V, 2, N, seed=s).requires_grad_() for s in (2, 3)]
        forecast, _ = closed_loop(parameters, *gains, tuple(start), 5, backend)
        leaves = [*parameters[1:5], *parameters[7:11], *gains, *start]
        gradients_of[backend] = torch.autograd.grad(forecast.square().sum(), leaves)
    for got, want in zip(gradients_of["cpu"], gradients_of["reference"], strict=True):
        assert_close(got, want, 1e-12)
