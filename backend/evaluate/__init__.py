"""Benchmarks of a served model: RegionBench, and two public ones that need a download and a judge.

    regionbench.py   ours; a process of its own asks, because it belongs to the model server's package
    vip_bench.py     ViP-Bench: its folder, its judge's question, its figures
    dlc_bench.py     DLC-Bench: the same
    folder.py        the folder of either: what is in it, and what to do if something is not
    judge.py         any OpenAI-compatible model that is asked for a verdict
    answers.py       what was answered already, so that a run goes on where it stopped
    run.py           asks the model, asks the judge, writes the result down

Everything goes over HTTP. Knows nothing of Label Studio and of the store.
"""

from __future__ import annotations

__all__: list[str] = []
