"""The server's side of the settings panel: its endpoint, its files, and the page of `supa-llm panel`.

Needs the extra ``panel``.
"""

from supa_llm.panel.endpoint import panel_endpoint
from supa_llm.panel.site import panel_files, panel_site

__all__ = ["panel_endpoint", "panel_files", "panel_site"]
