"""The two engines underneath: Embree's rays (Open3D) and Bullet's physics. The rooms beside it import it."""
