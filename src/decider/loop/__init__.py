"""The closed loop: decide, wait, attribute, learn, pass gates, publish, and again."""
