"""Arrow and Parquet from strangers: decoded in a process that may die (docs/decisions/0015).

What comes back is plain: few types, checked in full, in batches of a bearable size (`plain.py`).
"""
