"""The heart: what a virtual server is, compared and planned. Pure: no I/O."""
