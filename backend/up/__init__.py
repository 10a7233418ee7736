"""`regiontext up`: a whole working set-up on one machine, started, watched and stopped together.

    run.py            from the first check to the last child stopped
    prepare.py        what is checked before anything starts
    start.py          the order in which things start
    options.py        what can be chosen
    credentials.py    the account, keys and project, kept between starts
    settings.py       the settings of a command: options, environment, what was kept
    lock.py           one run per data folder
    ports.py          which ports are free, and who holds those that are not
    models.py         which models a server announces
    signals.py        Ctrl-C and SIGTERM, raised only where they do no harm
    supervisor.py     child processes: start, wait until ready, watch, stop
    watchdog.py       stops the children when their parent was killed
    services.py       how each child is started: Label Studio, model server, backend
    label_studio_settings.py, offline.py   what the embedded Label Studio runs with
    label_studio_account.py                sets its account right when it refuses our token
    demo.py           the sample project: labeling config, scenes, imported boxes
    display.py        one line per step, while it happens
    finish.py         what the user is told when everything runs

The embedded Label Studio imports this package, so nothing is imported here.
"""

from __future__ import annotations

__all__: list[str] = []
