"""Autograd helpers that operators share."""

import torch


class FirstOrderOnly(torch.autograd.Function):
    """Hands gradients through and raises when they are differentiated: without it they would count as constants.

    Apply it to ``(op, n_grads, *gradients, *sources)`` where the first ``n_grads`` tensors are the gradients and the
    sources are all tensors that they were computed from; None stands for a tensor that is absent.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(op, n_grads, *grads_and_sources):
        return tuple(g.clone() for g in grads_and_sources[:n_grads])

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.op = inputs[0]

    @staticmethod
    def backward(ctx, *_):
        raise RuntimeError(f"{ctx.op} has first derivatives only; backend='reference' can be differentiated again")
