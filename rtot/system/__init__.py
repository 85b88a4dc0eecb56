"""The kernel, the disk, the network: one thing a file. Every OSError ends in here."""
