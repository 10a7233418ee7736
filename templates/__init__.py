"""Labeling configs (XML), ready to paste into Label Studio."""
