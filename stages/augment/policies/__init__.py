"""One file per named policy: ``CHANNELS`` it is for, and ``policy(channels, size)``."""
