"""Recipes: model set-ups as data."""
