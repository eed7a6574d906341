"""State-of-the-art sequence models for time series, with sktime and Lightning interfaces."""

__version__ = "0.1.0"
