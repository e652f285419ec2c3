"""Pin: one revision for each fingerprint, found or registered once."""
