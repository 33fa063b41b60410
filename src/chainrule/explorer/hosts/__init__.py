"""Hosts: what carries messages between a page and its session."""
