"""Launch: RunTask, paced under the quota, each submission idempotent.

A submission's ``clientToken`` stays the same while the outcome of a call is unknown,
so that a lost answer never starts a second task. It is renewed after every refusal, because ECS
replays refusals too (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html).
A token dies with its task's memory, an hour after the task. So before a submission of which an
answer was lost takes a new token, or is given up, its task is looked for (`task_lookup`).
"""
