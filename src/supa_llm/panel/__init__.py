"""The server's side of the settings panel: the endpoint that tests keys, and the page of `supa-llm panel`.

Needs the extra ``panel``.
"""

from supa_llm.panel.endpoint import panel_endpoint
from supa_llm.panel.site import panel_site

__all__ = ["panel_endpoint", "panel_site"]
