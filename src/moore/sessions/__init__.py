"""Sessions: a control system asks for actions, tells what came of them, and says when to learn."""
