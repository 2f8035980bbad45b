"""Decider: how many messages, which ones, on which channels, by what each would cause."""
