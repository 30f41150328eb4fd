"""The loop: source, work queue, reconciling, status."""
