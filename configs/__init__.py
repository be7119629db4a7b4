"""The shipped experiments; a config names every knob there is."""
