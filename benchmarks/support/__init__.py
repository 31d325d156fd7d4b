"""Projects and registries to measure and to test on, built in seconds."""
