"""What the daemon offers to programs and people on its host: a local interface and a page."""
