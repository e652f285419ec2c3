"""The control loop, its threads, and what many callers share on it."""
