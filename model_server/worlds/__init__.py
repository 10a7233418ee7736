"""The generated world that the bundled model was trained on: scenes, their painting and their questions."""
