"""The kinds of models that can be run, a module or folder each; `known` lists those of diffusers' parts."""
