"""What the block and the worker have in common: Prefect 2 and 3 alike are known here.

- `access`: from `AwsCredentials` to the access that control planes are keyed by.
- `following`: the states of many flow runs, looked at by one timer; `states` reads them, `asking`
  bounds its calls, `pages` reads as many per call as the server allows.
- `events`: what happens to the runs, as log lines and Prefect events.

`block` and `worker` import this, and never each other.
"""
