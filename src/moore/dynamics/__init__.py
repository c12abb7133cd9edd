"""The ensemble of dynamics models: fitting, imagined rollouts, the penalty, learned ends."""
