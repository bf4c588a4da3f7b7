"""What is loaded: the catalogue of models, the loader, acceleration and the embedded model.

Nothing heavy is imported here; ``torch`` and ``diffusers`` come in with ``loader`` when a model is loaded.
"""
