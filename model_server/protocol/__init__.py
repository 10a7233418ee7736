"""The OpenAI-shaped wire: request and response shapes, messages, images. Knows nothing of torch."""
