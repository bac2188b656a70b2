"""Pictures: one file per figure of the paper, named like its picture, and what they share."""
