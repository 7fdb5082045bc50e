"""Ours against the strongest simple way and the usual one, side by side in one process:
`python -m benchmarks`.
"""
