"""One way for every flow run: it is *pinned*, *launched*, *watched*.

- `pinning` turns a desired definition into the ARN of one revision. Only it may register.
- `launching` turns a request into a task, paced and idempotent. Only it may run tasks.
- `watching` sees every task's changes, a hundred a call. Only it may describe tasks.
- `stopping` stops a task, and repeats that until it is certain.

`control_plane` puts them together, once per credentials and Region, and is what a caller
holds. All of it lives on one event loop in one daemon thread (`loop`): its state has a single
writer and needs no locks. boto3 calls are made on a few daemon threads (`threads`, `api`), and
what AWS answers is classified in `faults` and nowhere else. Nothing here imports Prefect.
"""
