"""What runs inside Label Studio itself: the assistant in the page.

    settings.py     Label Studio's own settings with the assistant added: DJANGO_SETTINGS_MODULE=plugin.settings
    urls.py         Label Studio's own addresses and ours
    setup.py        what the environment says, and whether this Label Studio is one that was tested
    middleware.py   one script more in the pages that can become the labeling page
    smart_tools.py  who draws, told to the backend also when Label Studio's own smart tools ask
    views.py        who asks, whether they may; the files of the page
    road.py         the request on its way to the backend, and the answer on its way back
    page/           what runs in the browser: plain JavaScript modules, no build step

Runs in Label Studio's process: Django and Label Studio's packages are there, regiontext's need not be. Talks only to
the backend.
"""

from __future__ import annotations

__all__: list[str] = []
