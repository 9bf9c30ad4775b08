"""The command `gon`."""
