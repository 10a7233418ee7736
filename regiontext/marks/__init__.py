"""Marks: a region drawn on its image as a visual prompt.

kinds (vocabulary) → style (how it looks) → layout (where it runs) → draw (pixels) → phrase (words);
colours tells several marks apart, view puts all together into the pictures and phrases a model is
shown, rgba is for models that take a region as alpha. `python -m regiontext.marks` draws contact
sheets. Import from the modules.
"""
