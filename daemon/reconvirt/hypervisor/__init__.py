"""The only room that imports libvirt: connection, events, observing, acting."""
