"""The way of a command: validate → wish → audit (durable) → write, by a node or directly → read back → result → audit, answer."""
