"""The arbiter, checked exhaustively on small constants: every state that can be reached, every event in each of them."""
