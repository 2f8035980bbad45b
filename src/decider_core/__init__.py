"""The compiled core: arrays in, arrays out. NumPy and Numba only; no files, no clock, no network."""
