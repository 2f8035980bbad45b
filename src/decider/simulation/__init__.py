"""A world with known truth, and policies that live in it side by side.

``spec`` says what the world is like, ``world`` makes it, ``truth`` answers what a message set causes; ``state`` is
what one policy has done to its members; ``choose`` decides as production does; ``run`` plays the epochs.
"""
