"""Watch: one DescribeTasks for a hundred tasks."""
