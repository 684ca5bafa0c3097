"""Which calls are believed: what was read in one go need not be of one moment. Used from compiled code only."""
