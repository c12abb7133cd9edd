"""The update rules of the algorithms, one file each, as pure functions over a frozen state."""
