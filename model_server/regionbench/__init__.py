"""RegionBench: how well a served model reads marks and describes what is marked, on scenes it was not trained on."""
