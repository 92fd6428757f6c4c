"""Rules, the pure alert state machine, and the evidence that goes with a page."""
