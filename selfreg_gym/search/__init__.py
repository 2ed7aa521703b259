"""Planning on snapshots of text tasks: values of states, and tree search with the actor's probabilities."""

from __future__ import annotations
