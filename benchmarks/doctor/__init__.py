"""The labelled corpus of the doctor: faulty runs, their healthy twins, and healthy runs that look odd.

python -m benchmarks.doctor      # or: make doctor-bench
"""
