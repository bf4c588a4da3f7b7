"""The page: one file a tab. It calls the pipeline and never imports torch."""
