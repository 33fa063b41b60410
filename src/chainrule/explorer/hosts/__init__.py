"""Hosts: they carry messages between a page and its session."""
