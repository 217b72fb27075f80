"""Tests: one folder per kind. They mirror the modules they judge."""
