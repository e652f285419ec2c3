"""Launch: RunTask, paced under the quota, each submission idempotent."""
