"""Painter."""
