"""What systems of flow, depth and camera are made of: warps, likeness, occlusion, smoothness, matching.

Functions on float32 tensors (N, C, H, W). Image coordinates are (x, y), the pixel in row i, column j is centred at
(j + 0.5, i + 0.5), and camera axes are OpenCV's, as in shards.
"""
