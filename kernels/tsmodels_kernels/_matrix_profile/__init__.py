from .op import JoinProfile, join_profile

__all__ = ["JoinProfile", "join_profile"]
