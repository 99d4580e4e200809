"""Files beside pictures → what they tell of cameras: intrinsics, baselines, poses, units of depth, times."""
