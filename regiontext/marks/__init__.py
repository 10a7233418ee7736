"""Marks: a region drawn on its image as a visual prompt.

kinds (vocabulary) → style (how it looks) → layout (where it runs) → draw (pixels) → phrase (words);
view puts them together into the pictures and phrases a model is shown. Import from the modules.
"""
