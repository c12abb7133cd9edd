"""May the policy of a run be deployed? Answers from the log and the models, without the system."""
