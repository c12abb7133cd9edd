"""Around a learned policy: the controller that ran before, the modes, the guard, the interlocks."""
