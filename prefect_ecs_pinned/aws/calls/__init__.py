"""Calls: what is sent to AWS and what comes back, understood; who may call how often."""
