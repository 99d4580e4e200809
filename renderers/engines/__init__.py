"""The two engines underneath: Embree's rays (Open3D) and Bullet's physics. Imported by every other room here."""
