"""Output: the containers' log streams, read together and printed."""
