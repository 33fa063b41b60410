"""Teach: lessons, exercises and small data sets."""
