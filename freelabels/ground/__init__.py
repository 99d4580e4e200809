"""What every layer may use: errors meant for people, spelling, versions. Imports nothing of the project."""
