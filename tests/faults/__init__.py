"""The fault matrix: every flow run launched exactly once, on AWS's bad days.

`matrix` holds the rows, `world` makes the days, `crowd` the processes that start at once;
`make faults` runs it all and prints a table, the tests beside it run a part.
"""
