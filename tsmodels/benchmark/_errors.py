"""What can be wrong with a request, told apart from what is wrong with the program."""

__all__ = ["BenchmarkError", "OutputError", "RequestError"]


class BenchmarkError(Exception):
    """A benchmark that cannot be run as asked; the message names the remedy."""


class RequestError(BenchmarkError, ValueError):
    """An argument is wrong: an unknown name, an empty list, a seed out of range."""


class OutputError(BenchmarkError, OSError):
    """The output folder cannot be used."""
