"""A region multimodal LLM behind an OpenAI-compatible API, with its adapters and its training.

Knows nothing of Label Studio.
"""
