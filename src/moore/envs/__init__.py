"""The system that a policy acts in: how it is made, checked and stepped, and how episodes end."""
