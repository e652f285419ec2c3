"""What the commands do, callable as a library. `cli` only reads arguments and prints."""
