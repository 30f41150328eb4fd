"""Manifests: YAML text with positions in, checked values out. Pure: no I/O."""
