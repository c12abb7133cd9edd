"""The system that a policy acts in: made, checked, stepped, and where its episodes end."""
