"""Keeps KVM virtual servers the way git says."""

__version__ = "0.1.0"
