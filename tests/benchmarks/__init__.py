"""Benchmarks: ratios against a named peer in the same run, never timed tests. Run by `make bench`."""
