"""Plug-ins for selfreg_gym: a lock to open, who opens it, who helps, and who decides to ask."""
