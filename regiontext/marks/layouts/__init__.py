"""Where the marks run, one module per idea: boxes, pixels, points, strokes, numbers.

Each function takes a `Place` (a region as layouts need it), a style and perhaps a generator, and
gives parts. `regiontext.marks.layout` chooses among them.
"""
