"""`regiontext up`: a whole working set-up on one machine, started, watched and stopped together.

    run.py            the order in which things start, and what the user is told
    options.py        what can be chosen
    credentials.py    the account, keys and project, kept between starts
    ports.py          which ports are free, and who holds those that are not
    supervisor.py     child processes: start, wait until ready, watch, stop
    watchdog.py       stops the children when their parent was killed
    services.py       how each child is started: Label Studio, model server, backend
    label_studio_settings.py, offline.py   what the embedded Label Studio runs with
    demo.py           the sample project: labeling config, scenes, imported boxes
    display.py        one line per step, while it happens

The embedded Label Studio imports this package, so nothing is imported here.
"""

from __future__ import annotations

__all__: list[str] = []
