"""Ratios against peers: the same work, on the same machine, in the same run. Figures in RESULTS.md."""
