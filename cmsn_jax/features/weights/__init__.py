"""Other frameworks' checkpoints to parameter trees; our weight folders."""
