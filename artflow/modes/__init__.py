"""What the app can do: one file a capability. Nothing here knows about the web or the UI."""
