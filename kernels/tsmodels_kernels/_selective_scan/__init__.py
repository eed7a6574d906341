from .op import selective_scan

__all__ = ["selective_scan"]
