"""What this world can do."""

from __future__ import annotations

from ..kinds import latent_kind

KIND = latent_kind("nextframe.worlds.drive", teacher=True)
