"""Snapshot -> Plan: pure functions, no I/O, no clock. One builder for each owned object."""
