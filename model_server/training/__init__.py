"""Training of the bundled model: from scratch on the generated world, and fine-tuning."""
