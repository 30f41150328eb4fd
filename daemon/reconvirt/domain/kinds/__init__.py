"""The kinds of devices that a manifest can list, a module for each family."""
