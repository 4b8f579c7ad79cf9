"""Many runs at once: hundreds of recipes trained in the time of a few, each giving the Run that `fit` would give."""
