import pytest
import torch
from torch.nn import functional as F

from tsmodels.layers import ConvLSTMLayer


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def make_layer(channels=3, seed=0, **choices):
    torch.manual_seed(seed)
    return ConvLSTMLayer(channels, **choices).double()


def plain(layer, u, state):
    """The definition, with one convolution of input and hidden state side by side."""
    c, h = state.unbind(1)
    outputs = []
    for frame in u.unbind(1):
        i, f, o, g = F.conv2d(torch.cat([frame, h], 1), layer.weight, padding="same").chunk(4, 1)
        c = torch.sigmoid(f + layer.forget_bias) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        normed = F.layer_norm((frame + h).movedim(1, -1), (layer.channels,), layer.norm.weight, layer.norm.bias)
        outputs.append(normed.movedim(-1, 1))
    return torch.stack(outputs, 1), torch.stack([c, h], 1)


CHOICES = pytest.mark.parametrize("choices", [{}, {"kernel": 1}, {"kernel": (1, 5), "forget_bias": 1.0}], ids=str)


@CHOICES
@pytest.mark.parametrize(("time", "height", "width"), [(1, 1, 1), (7, 4, 5)])
def test_equals_its_definition(choices, time, height, width):
    layer, u = make_layer(**choices), draws(2, time, 3, height, width)
    state = draws(2, 2, 3, height, width, seed=1)
    for got, expected in zip(layer(u, state), plain(layer, u, state), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    zeros = layer.zero_state(2, height, width, u)
    torch.testing.assert_close(layer(u)[0], plain(layer, u, zeros)[0], rtol=0, atol=1e-12)


def test_steps_and_chunks_equal_the_whole():
    layer, u = make_layer(), draws(2, 6, 3, 4, 5)
    whole, last = layer(u)
    first, state = layer(u[:, :4])
    step = layer.stepper()
    fifth, state = step(u[:, 4], state)
    sixth, state = layer.step(u[:, 5], state)
    together = torch.cat([first, fifth[:, None], sixth[:, None]], 1)
    torch.testing.assert_close(together, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-12)


def test_gradients_equal_those_of_the_definition():
    layer, u = make_layer(), draws(2, 5, 3, 4, 4).requires_grad_()
    state = draws(2, 2, 3, 4, 4, seed=1).requires_grad_()
    weights = draws(2, 5, 3, 4, 4, seed=2)
    inputs = [u, state, *layer.parameters()]

    def gradients(y, last):
        return torch.autograd.grad((y * weights).sum() + last.square().sum(), inputs)

    for got, exact in zip(gradients(*layer(u, state)), gradients(*plain(layer, u, state)), strict=True):
        torch.testing.assert_close(got, exact, rtol=0, atol=1e-10)
        assert exact.abs().max() > 0


def test_forget_bias_starts_with_a_longer_memory():
    frames = torch.zeros(1, 20, 3, 4, 4).double()
    state = torch.ones(1, 2, 3, 4, 4).double()
    cells = [make_layer(forget_bias=bias)(frames, state)[1][:, 0].abs().mean() for bias in (0.0, 3.0)]
    assert cells[0] < 0.1 < cells[1]


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="kernel must be odd and positive, got 4"):
        make_layer(kernel=4)
