"""ConvLSTM: recurrent network of convolutions, the baseline beside ConvS5.

Shi, Chen, Wang, Yeung, Wong and Woo, "Convolutional LSTM Network: A Machine Learning Approach for Precipitation
Nowcasting", NeurIPS 2015, arXiv 1506.04214.  In the frame of ConvS5: the same encoder and decoder, and residual layers
with a norm.  What differs from the paper: no biases and no peepholes in the cell; one frame is predicted after every
frame seen, by the same layers, instead of an encoding and a forecasting network.
"""

from collections.abc import Sequence

from tsmodels.layers import ConvLSTMLayer

from ._config import records_config
from ._frames import FramesNetwork, GridDecoder, GridEncoder
from ._search import Choice, Integer, Real
from ._series import check_facts


@records_config
class ConvLSTMForFrames(FramesNetwork):
    """ConvLSTM network that predicts the next frame of videos and gridded fields.

    Shapes: frames (batch, time, n_channels, height, width) -> predictions like frames, state: a list with a tensor
    (batch, 2, d_model, latent height, latent width) per layer.

    Parameters
    ----------
    n_channels, height, width : int
        Size of a frame.
    d_model : int, default=64
        Channels of the latent grid, and of the state of each layer.
    n_layers : int, default=4
        Number of layers along time.
    widths : tuple of int, default=(16, 32, 64)
        Channels of encoder and decoder, from the finest resolution on; each further one halves the resolution.
    patch_size : int, default=1
        Pixels, each way, of the patches whose pixels are the channels of the finest resolution. Frames in patches cost
        a fraction of convolutions over single pixels.
    groups : int, default=8
        Groups of the group norms in encoder and decoder.
    kernel : int, default=3
        Odd size of the kernels of the layers.
    forget_bias : float, default=0.0
        Constant added to the forget gates.
    dropout : float, default=0.0
        Dropout on the output of each cell.
    output : {"tanh", "linear"}, default="tanh"
        "tanh" for frames in [-1, 1], "linear" for real-valued fields. Absolute errors, as in the default loss of
        ``FramesTask``, can drive "tanh" to where it has no gradient on videos that are mostly black: all frames then
        are black and stay so. ``loss="mse"`` and "linear" prevent it.
    increments : bool, default=False
        Whether to predict the difference to the frame before; needs ``output="linear"``.

    References
    ----------
    .. [1] X. Shi, Z. Chen, H. Wang, D.-Y. Yeung, W.-K. Wong, W.-C. Woo, "Convolutional LSTM Network: A Machine Learning
       Approach for Precipitation Nowcasting", NeurIPS 2015, arXiv:1506.04214.
    """

    search_space = {
        "d_model": Choice(32, 64, 128),  # multiples of all numbers of groups
        "n_layers": Integer(1, 6),
        "groups": Choice(4, 8, 16),
        "kernel": Choice(3, 5),
        "forget_bias": Choice(0.0, 1.0),
        "dropout": Real(0.0, 0.3),
        "lr": Real(1e-4, 1e-2, log=True),
    }

    def __init__(
        self,
        n_channels: int,
        height: int,
        width: int,
        *,
        d_model: int = 64,
        n_layers: int = 4,
        widths: Sequence[int] = (16, 32, 64),
        patch_size: int = 1,
        groups: int = 8,
        kernel: int = 3,
        forget_bias: float = 0.0,
        dropout: float = 0.0,
        output: str = "tanh",
        increments: bool = False,
    ):
        check_facts(n_channels=n_channels, height=height, width=width, d_model=d_model, n_layers=n_layers)
        encoder = GridEncoder(
            n_channels, height, width, d_model=d_model, widths=widths, patch_size=patch_size, groups=groups
        )
        super().__init__(
            *(n_channels, height, width),
            encoder=encoder,
            layers=[
                ConvLSTMLayer(d_model, kernel=kernel, forget_bias=forget_bias, dropout=dropout) for _ in range(n_layers)
            ],
            decoder=GridDecoder(
                n_channels, height, width, d_model=d_model, widths=widths, patch_size=patch_size, groups=groups
            ),
            latent_size=encoder.latent_size,
            output=output,
            increments=increments,
        )
