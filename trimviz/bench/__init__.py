"""Speed, measured honestly: ratios from one run, medians of interleaved repeats, device and versions beside them."""
