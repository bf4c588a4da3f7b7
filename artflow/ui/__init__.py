"""The page: one file a tab. Calls the pipeline; knows nothing of torch."""
