"""The durable log of decisions and events, and what learners read from it."""
