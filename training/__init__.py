"""How the embedded ("pocket") model is made, from package registries to weights."""
