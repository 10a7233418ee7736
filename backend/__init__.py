"""The Label Studio ML backend and control plane: protocol, store, jobs and the command line.

Speaks Label Studio's protocol and asks a model over HTTP. Knows no torch.
"""
