"""Audience mode: visitors with sessions of their own. The stage's side, and the server that visitors reach."""
