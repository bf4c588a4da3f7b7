"""The routes beside the UI, on the same port. Knows the pipeline and the web; knows nothing of torch."""
