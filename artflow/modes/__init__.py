"""The app's capabilities, one file each. Nothing here imports the web or the UI."""
