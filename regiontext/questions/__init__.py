"""Questions: what is asked of the model to fill one field of one region, or of one ordered pair of
regions.

question (the value) → wordings (default and training wordings) → templates (questions from a
labeling config) → prompt (the text sent). Import from the modules.
"""
