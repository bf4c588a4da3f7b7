"""The routes beside the UI, on the same port. They use the pipeline and never import torch."""
