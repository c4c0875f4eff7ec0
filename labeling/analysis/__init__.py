"""What the picks say: win rates, agreement, labelers and rewards, with honest intervals.

Everything here works on a ``Frame``, the current picks as columns of numbers, of which a
``Selection`` takes a part. A report over a million picks takes less than a second.
"""
