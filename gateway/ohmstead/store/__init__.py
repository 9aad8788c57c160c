"""What is kept: readings, frames, events, the audit. `protocol` says what a store is, `sqlite` is the one we bring."""
