from .op import affine_scan

__all__ = ["affine_scan"]
