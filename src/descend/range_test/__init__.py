"""The learning-rate range test: raise the rate at every step, and see where the loss falls, turns and explodes."""
