"""Metrics: of the virtual servers, of their KVM exits, and of the daemon itself."""
