"""How pictures are made: many people's rows through one copy of the weights. See docs/architecture.md."""
