"""Which engine a request goes to: digests that engines publish, and the choice among them."""
