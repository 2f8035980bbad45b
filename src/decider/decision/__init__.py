"""One decision in seven steps, for one member or a chunk of thousands."""
