"""What a run will cost before it begins: its time and memory, and what a budget of hours buys."""
