"""What names of files and folders tell: which view, which map, which number, which public layout."""
