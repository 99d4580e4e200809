"""What surfaces are made of, as data and as functions: meshes, materials, colours, textures, noise.

Imported by every later room here.
"""
