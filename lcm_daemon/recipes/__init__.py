"""Recipes: descriptions of models as data, and the YAML files of the recipes that come with the package."""
