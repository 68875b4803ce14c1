"""What is named in benchmarks/results/*.json: one function for each file (see ../measured.py)."""
