"""The other hosts: who has a virtual server, and how it is moved between them."""
