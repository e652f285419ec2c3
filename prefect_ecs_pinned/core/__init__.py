"""Pure values in, values out: what to register, what to send, and how two definitions compare.

Nothing here does I/O, reads a clock or imports boto3 or Prefect.
"""
