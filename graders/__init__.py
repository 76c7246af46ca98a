"""Judge submissions: from a grader's name and a learner's text to a verdict, a blame and feedback."""
