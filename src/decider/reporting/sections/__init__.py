"""The sections of the report: each takes what was found and says what to draw."""
