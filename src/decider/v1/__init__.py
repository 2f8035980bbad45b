"""Generated from proto/decider/v1 by proto/generate.py; never edited."""
