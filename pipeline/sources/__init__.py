"""What people have → clips: files found, grouped, examined, cut into shots and decoded."""
