"""Differentiable scan kernels."""
