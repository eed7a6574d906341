"""What training on several devices asks of a layer."""

from torch import Tensor, distributed


def keep_in_graph(x: Tensor, unused: Tensor) -> Tensor:
    """Return ``x``; if several processes train together, with a parameter that it did not need as part of its graph.

    Lightning's strategy "ddp" waits for a gradient of every parameter and refuses batches that leave one out, such as
    the weights of missing values in a batch without any.  It gets zeros.  One process alone leaves the gradient None,
    so that optimisers pass the parameter over.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return x
    return x + 0.0 * unused.sum().to(x.dtype)
