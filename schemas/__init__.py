"""The JSON Schema of manifests, as package data."""
