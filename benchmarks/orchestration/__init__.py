"""What orchestration costs: one file for each row of the table in docs/benchmarks.md."""
