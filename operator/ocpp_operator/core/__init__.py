"""Planning, pure: data in, data out. This module imports nothing."""
